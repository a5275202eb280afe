package pipeline

import (
	"unsafe"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// slab is where decoded events wait to be sealed: records by epoch, their
// strings in memory of the slab's own. It is erased and used again.
type slab struct {
	batches []store.Batch
	arenas  [][]byte // all but the last are full
	bytes   int64
}

const arenaSize = 256 << 10

// recordSize is what a record takes besides its strings.
const recordSize = int64(unsafe.Sizeof(record.Record{}))

// add copies an event to its epoch. Fields that the policy does not keep are left out.
func (s *slab) add(epoch retention.Epoch, keep keeps, r record.Record, e *event.Event) {
	r.Address, r.Ports, r.Since = e.Address, e.Ports, e.Since
	r.Account, r.Event = s.text(e.Account), s.text(e.Kind)
	r.Session, r.Server = s.text(e.Session), s.text(e.Server)
	if keep.transport {
		r.Transport = s.text(e.Transport)
	}
	if keep.client {
		r.Client = s.text(e.Client)
	}
	if keep.outcome {
		r.Outcome = s.text(e.Outcome)
	}
	b := s.batch(epoch)
	b.Records = append(b.Records, r)
	s.bytes += recordSize
}

// batch finds the batch of an epoch; the latest is nearly always the one.
func (s *slab) batch(epoch retention.Epoch) *store.Batch {
	for i := len(s.batches) - 1; i >= 0; i-- {
		if s.batches[i].Epoch == epoch {
			return &s.batches[i]
		}
	}
	if len(s.batches) < cap(s.batches) { // an erased batch, whose records' space is used again
		s.batches = s.batches[:len(s.batches)+1]
	} else {
		s.batches = append(s.batches, store.Batch{})
	}
	b := &s.batches[len(s.batches)-1]
	b.Epoch = epoch
	return b
}

// text copies t into the slab. An arena never moves, and is only written again
// after erase, when no record refers to it any more: so a string may lie in it.
func (s *slab) text(t string) string {
	if t == "" {
		return ""
	}
	last := len(s.arenas) - 1
	if last < 0 || cap(s.arenas[last])-len(s.arenas[last]) < len(t) {
		s.arenas = append(s.arenas, make([]byte, 0, max(arenaSize, len(t))))
		last++
	}
	arena := s.arenas[last]
	start := len(arena)
	arena = append(arena, t...)
	s.arenas[last] = arena
	s.bytes += int64(len(t))
	return unsafe.String(&arena[start], len(t))
}

// moveTo appends the slab's records to those of another that share their epoch;
// the strings stay here, so this slab must outlive the other's records.
func (s *slab) moveTo(other *slab) {
	for i := range s.batches {
		b := other.batch(s.batches[i].Epoch)
		b.Records = append(b.Records, s.batches[i].Records...)
	}
}

// erase overwrites what the slab holds and makes it empty.
func (s *slab) erase() {
	for i := range s.batches {
		clear(s.batches[i].Records)
		s.batches[i].Records = s.batches[i].Records[:0]
	}
	s.batches = s.batches[:0]
	for i := range s.arenas {
		clear(s.arenas[i])
	}
	if len(s.arenas) > 0 {
		s.arenas = s.arenas[:1]
		s.arenas[0] = s.arenas[0][:0]
	}
	s.bytes = 0
}
