package store

import (
	"cmp"
	"slices"
	"time"

	"mayfly/retention/keyring"
	"mayfly/retention/record"
)

// findings are the records of a look-up, each once: under the key that dies first.
type findings struct {
	hits []hit
	at   map[record.ID]int32 // among hits
}

type hit struct {
	record record.Record
	from   *source
}

// source is what decides how long a record may be given.
type source struct {
	deadline time.Time
	key      *keyring.Key // that opened it
	judged   bool
	alive    bool
}

func (f *findings) add(r *record.Record, from *source) {
	if i, there := f.at[r.ID]; there {
		if from.deadline.Before(f.hits[i].from.deadline) {
			f.hits[i] = hit{*r, from}
		}
		return
	}
	if f.at == nil {
		f.at = map[record.ID]int32{}
	}
	f.at[r.ID] = int32(len(f.hits)) //nolint:gosec // memory ends before
	f.hits = append(f.hits, hit{*r, from})
}

// alive lists the records that are not due by now, by our clock or by those of the
// keyring, which ours may be behind. They are sorted by time, then identity.
func (f *findings) alive(now time.Time) []record.Record {
	type place struct { // a hit is 200 bytes: what is sorted are their places
		time int64
		hit  int32
	}
	places := make([]place, 0, len(f.hits))
	for i := range f.hits {
		h := &f.hits[i]
		if h.from.lives(now) {
			places = append(places, place{h.record.Time, int32(i)}) //nolint:gosec // memory ends before
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.time != b.time {
			return cmp.Compare(a.time, b.time)
		}
		return f.hits[a.hit].record.ID.Compare(f.hits[b.hit].record.ID)
	})
	if len(places) == 0 {
		return nil
	}
	records := make([]record.Record, len(places))
	for i, p := range places {
		records[i] = f.hits[p.hit].record
	}
	return records
}

// lives reads a clock once for each source, not for each record.
func (s *source) lives(now time.Time) bool {
	if !s.judged {
		s.judged, s.alive = true, s.key.Alive() && s.deadline.After(now)
	}
	return s.alive
}

// keep adds what of records is in the query's time. Of frames they lie in memory that is
// used again, so they are copied.
func (s *search) keep(records []record.Record, c *chunk, copied bool) {
	from, to := s.query.From.UnixMilli(), s.query.To.UnixMilli()
	records = slices.DeleteFunc(records, func(r record.Record) bool {
		return r.Time < from || !s.query.To.IsZero() && r.Time > to
	})
	if len(records) == 0 {
		return
	}
	if !copied {
		record.Own(records)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		s.found.add(&records[i], c.source)
	}
}

func (s *search) answer(now time.Time) Answer {
	a := Answer{Complete: s.complete, Refused: s.refused, Touched: s.touched, Scanned: s.scanned}
	a.Records = s.found.alive(now)
	if s.query.Limit > 0 && len(a.Records) > s.query.Limit {
		a.Records, a.Truncated = a.Records[:s.query.Limit], true
	}
	return a
}
