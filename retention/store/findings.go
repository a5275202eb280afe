package store

import (
	"cmp"
	"slices"
	"time"

	"mayfly/retention/keyring"
	"mayfly/retention/record"
)

// findings are the records of a look-up, each once: under the key that dies first. Of more
// than the limit they are the earliest: an address or account that has millions of
// events costs a look-up no more memory than any other.
type findings struct {
	limit int // 0: none
	hits  []hit
	at    map[record.ID]int32 // among hits
	cut   *record.Record      // the last of the limit where others were dropped: later ones are not wanted
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
	if f.cut != nil && before(f.cut, r) {
		return
	}
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
	if f.limit > 0 && len(f.hits) > f.limit+max(f.limit/4, 1<<10) {
		f.drop()
	}
}

// drop keeps as many as the limit, with strings of their own: those that they have may be
// slices of what came with the others.
func (f *findings) drop() {
	kept, records := make([]hit, f.limit), make([]record.Record, f.limit)
	for i, at := range f.sorted()[:f.limit] {
		kept[i], records[i] = f.hits[at], f.hits[at].record
	}
	record.Own(records)
	clear(f.at)
	for i := range kept {
		kept[i].record = records[i]
		f.at[records[i].ID] = int32(i) //nolint:gosec // memory ends before
	}
	f.hits, f.cut = kept, &records[f.limit-1]
}

// sorted gives the places of hits by time, then identity.
func (f *findings) sorted() []int32 {
	type place struct { // a hit is 200 bytes: what is sorted are their places
		time int64
		hit  int32
	}
	places := make([]place, len(f.hits))
	for i := range f.hits {
		places[i] = place{f.hits[i].record.Time, int32(i)} //nolint:gosec // memory ends before
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.time != b.time {
			return cmp.Compare(a.time, b.time)
		}
		return f.hits[a.hit].record.ID.Compare(f.hits[b.hit].record.ID)
	})
	order := make([]int32, len(places))
	for i, p := range places {
		order[i] = p.hit
	}
	return order
}

func before(a, b *record.Record) bool {
	return a.Time < b.Time || a.Time == b.Time && a.ID.Compare(b.ID) < 0
}

// alive lists the records that are not due by now, by our clock or by those of the
// keyring, which ours may be behind, in their order.
func (f *findings) alive(now time.Time) []record.Record {
	var records []record.Record
	for _, at := range f.sorted() {
		if h := &f.hits[at]; h.from.lives(now) {
			if records == nil {
				records = make([]record.Record, 0, len(f.hits))
			}
			records = append(records, h.record)
		}
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
	a.Truncated = s.found.cut != nil
	if s.query.Limit > 0 && len(a.Records) > s.query.Limit {
		a.Records, a.Truncated = a.Records[:s.query.Limit], true
	}
	return a
}
