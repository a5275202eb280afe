package edge

import (
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/record"
)

// batch is events of one epoch that wait to be sealed.
type batch struct {
	epoch    retention.Epoch
	deadline time.Time
	born     time.Time
	records  []record.Record
	texts    [][]byte // where the records' strings lie
	weight   int64
	events   int // once they are erased

	deliveries map[*Delivery]int
	unsent     atomic.Int32 // messages that are not acknowledged yet
	failed     atomic.Bool
}

// A batch is closed at maxWeight: sealed it is then well below a message's bound,
// however its events are spread over shards.
const (
	maxWeight   = 256 << 10
	eventWeight = 128
)

// weight is what an event counts for in memory and in its batch.
func weight(text []byte) int64 { return eventWeight + int64(len(text)) }

// copied makes a record of an event, its strings in one slice of its own. What the
// policy does not keep is left out.
func copied(e *event.Event, p *retention.Policy, at int64) (record.Record, []byte) {
	r := record.Record{
		Time: at, Since: e.Since, Address: e.Address, Ports: e.Ports,
		Account: e.Account, Event: e.Kind, Session: e.Session, Server: e.Server,
	}
	for _, kept := range p.Keep {
		switch kept {
		case "transport":
			r.Transport = e.Transport
		case "client":
			r.Client = e.Client
		case "outcome":
			r.Outcome = e.Outcome
		}
	}
	size := 0
	r.Move(func(s string) string { size += len(s); return s })
	text := make([]byte, 0, size) // never moves: a string may lie in it
	r.Move(func(s string) string {
		if s == "" {
			return ""
		}
		start := len(text)
		text = append(text, s...)
		return unsafe.String(&text[start], len(s))
	})
	return r, text
}

// put adds a record to the open batch of its epoch; false: the sealer has stopped.
func (s *Sealer) put(epoch retention.Epoch, deadline, now time.Time, r record.Record, text []byte, d *Delivery) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	b := s.open[epoch]
	if b == nil {
		b = &batch{epoch: epoch, deadline: deadline, born: now, deliveries: map[*Delivery]int{}}
		s.open[epoch] = b
	}
	b.records = appendErasing(b.records, r)
	b.texts = append(b.texts, text)
	b.weight += weight(text)
	if d != nil {
		d.add()
		b.deliveries[d]++
	}
	if len(b.records) >= s.config.Events || b.weight >= maxWeight {
		delete(s.open, epoch)
		s.full = append(s.full, b)
		select {
		case s.wake <- struct{}{}:
		default: // it is awake
		}
	}
	return true
}

// appendErasing appends, and erases what the slice outgrows: addresses lie in the
// records themselves.
func appendErasing(records []record.Record, r record.Record) []record.Record {
	if len(records) == cap(records) {
		grown := append(make([]record.Record, 0, max(16, 2*cap(records))), records...)
		clear(records)
		records = grown
	}
	return append(records, r)
}

// take gives the batches that are full or have lingered; all of them, and no more
// will come, at the end.
func (s *Sealer) take(now time.Time, last bool) []*batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = s.stopped || last
	taken := s.full
	s.full = nil
	for epoch, b := range s.open {
		if last || now.Sub(b.born) >= s.config.Linger {
			taken = append(taken, b)
			delete(s.open, epoch)
		}
	}
	slices.SortStableFunc(taken, func(a, b *batch) int { return a.born.Compare(b.born) })
	return taken
}

// erase overwrites what a batch holds; its weight and the number of events stay.
func (b *batch) erase() {
	b.events += len(b.records)
	for _, text := range b.texts {
		clear(text[:cap(text)])
	}
	clear(b.records)
	b.texts, b.records = nil, nil
}
