package pipeline

import (
	"slices"
	"time"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// slab is where decoded events wait to be sealed. It is erased and used again.
type slab struct {
	batches []store.Batch           // one of Rows for each epoch; and what came sealed
	open    map[retention.Epoch]int // each epoch's batch of Rows
	latest  int                     // the batch used last
	words   record.Words
	bytes   int64
}

// add copies an event to its epoch. Fields that the policy does not keep are left out.
func (s *slab) add(c *choice, id record.ID, at int64, e *event.Event) {
	r := record.Record{
		ID: id, Time: at, Since: e.Since, Address: e.Address, Ports: e.Ports,
		Account: e.Account, Event: e.Kind, Session: e.Session, Server: e.Server,
	}
	if c.keep.transport {
		r.Transport = e.Transport
	}
	if c.keep.client {
		r.Client = e.Client
	}
	if c.keep.outcome {
		r.Outcome = e.Outcome
	}
	s.put(c.epoch, c.deadline, &r)
}

// put copies a record to its epoch.
func (s *slab) put(epoch retention.Epoch, deadline int64, r *record.Record) {
	b := s.batch(epoch, deadline)
	if n := len(b.Rows); n > 0 {
		if size, ok := b.Rows[n-1].Add(r); ok {
			s.bytes += size
			return
		}
	}
	rows := record.NewRows(r.ID, &s.words)
	b.Rows = append(b.Rows, rows)
	size, _ := rows.Add(r)
	s.bytes += size
}

// keep copies records of another slab, which may then be erased.
func (s *slab) keep(from *store.Batch) {
	if from.Edge != nil {
		s.addSealed(from)
		return
	}
	for _, rows := range from.Rows {
		for i := range rows.All() {
			r := rows.Record(i)
			s.put(from.Epoch, from.Deadline.UnixMilli(), &r)
		}
	}
}

// batch finds the batch of an epoch; the latest is nearly always the one.
func (s *slab) batch(epoch retention.Epoch, deadline int64) *store.Batch {
	if s.latest < len(s.batches) && s.batches[s.latest].Edge == nil && s.batches[s.latest].Epoch == epoch {
		return &s.batches[s.latest]
	}
	i, known := s.open[epoch]
	if !known {
		i = len(s.batches)
		s.batches = append(s.batches, store.Batch{Epoch: epoch, Deadline: time.UnixMilli(deadline)})
		if s.open == nil {
			s.open = map[retention.Epoch]int{}
		}
		s.open[epoch] = i
	}
	s.latest = i
	return &s.batches[i]
}

// wipe erases the records whose deadline has come while they waited.
func (s *slab) wipe(now time.Time) {
	for i := range s.batches {
		s.batches[i].Wipe(now)
	}
}

// erase overwrites what the slab holds and makes it empty.
func (s *slab) erase() {
	for _, b := range s.batches {
		for _, rows := range b.Rows {
			rows.Release()
		}
	}
	s.batches = slices.Delete(s.batches, 0, len(s.batches))
	clear(s.open)
	s.words.Erase()
	s.bytes = 0
}
