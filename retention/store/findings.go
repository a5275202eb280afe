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
	hits  hits
	at    map[record.ID]int32 // among hits
	cut   *record.Record      // the last of the limit where others were dropped: later ones are not wanted
}

type hit struct {
	record record.Record
	from   *source
}

// hits are in pieces that stay where they are: in a slice that grows each of 10,000 records
// of 200 bytes is written three times, and what is left behind is garbage.
type hits struct {
	pieces [][]hit
	n      int
}

const hitsInPiece = 64

func (h *hits) at(i int32) *hit { return &h.pieces[i/hitsInPiece][i%hitsInPiece] }

func (h *hits) add(r *record.Record, from *source) {
	if h.n%hitsInPiece == 0 {
		h.pieces = append(h.pieces, make([]hit, 0, hitsInPiece))
	}
	last := &h.pieces[len(h.pieces)-1]
	*last = append(*last, hit{*r, from})
	h.n++
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
		if h := f.hits.at(i); from.deadline.Before(h.from.deadline) {
			*h = hit{*r, from}
		}
		return
	}
	if f.at == nil {
		f.at = map[record.ID]int32{}
	}
	f.at[r.ID] = int32(f.hits.n) //nolint:gosec // memory ends before
	f.hits.add(r, from)
	if f.limit > 0 && f.hits.n > f.limit+max(f.limit/4, 1<<10) {
		f.drop()
	}
}

// drop keeps as many as the limit, with strings of their own: those that they have may be
// slices of what came with the others.
func (f *findings) drop() {
	order, records := f.sorted()[:f.limit], make([]record.Record, f.limit)
	for i, at := range order {
		records[i] = f.hits.at(at).record
	}
	record.Own(records)
	var kept hits
	clear(f.at)
	for i, at := range order {
		f.at[records[i].ID] = int32(i) //nolint:gosec // memory ends before
		kept.add(&records[i], f.hits.at(at).from)
	}
	f.hits, f.cut = kept, &records[f.limit-1]
}

// sorted gives the places of hits by time, then identity.
func (f *findings) sorted() []int32 {
	type place struct { // a hit is 200 bytes: what is sorted are their places
		time int64
		hit  int32
	}
	places := make([]place, f.hits.n)
	for i := range places {
		at := int32(i) //nolint:gosec // memory ends before
		places[i] = place{f.hits.at(at).record.Time, at}
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.time != b.time {
			return cmp.Compare(a.time, b.time)
		}
		return f.hits.at(a.hit).record.ID.Compare(f.hits.at(b.hit).record.ID)
	})
	order := make([]int32, len(places))
	for i, p := range places {
		order[i] = p.hit
	}
	return order
}

// beyond reports whether all that is at or after a time, in Unix ms, comes after the limit.
func (f *findings) beyond(time int64) bool { return f.cut != nil && f.cut.Time < time }

func before(a, b *record.Record) bool {
	return a.Time < b.Time || a.Time == b.Time && a.ID.Compare(b.ID) < 0
}

// alive lists the records that are not due by now, by our clock or by those of the
// keyring, which ours may be behind, in their order.
func (f *findings) alive(now time.Time) []record.Record {
	var records []record.Record
	for _, at := range f.sorted() {
		if h := f.hits.at(at); h.from.lives(now) {
			if records == nil {
				records = make([]record.Record, 0, f.hits.n)
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
