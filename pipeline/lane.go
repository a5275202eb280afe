package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/secret"
	"mayfly/retention/tally"
)

// lane is the way of one partition: it decodes each message, judges it, and lets
// the event wait in a slab until the generation takes it.
type lane struct {
	*Ingest
	partition kafkain.Partition
	decoder   *event.Decoder
	wake      chan<- struct{} // asks for a flush before its time
	event     event.Event
	counts    counts
	choice    choice
	under     *retention.Policy // that of the message at hand, as far as it is known

	mu     sync.Mutex // guards what a flush takes: the slab, how far it reaches, what was read, and the memory it holds
	slab   *slab
	spare  *slab
	next   int64
	read   tally.Read
	held   int64
	expect int64 // the offset after the highest that was seen; used by handle alone
}

// keeps says which optional fields a policy keeps.
type keeps struct{ transport, client, outcome bool }

// choice remembers the epoch of the event before, which is mostly the next one's too.
type choice struct {
	policy   *retention.Policy
	epoch    retention.Epoch
	deadline int64 // Unix ms
	keep     keeps
}

func newLane(i *Ingest, p kafkain.Partition, start int64, wake chan<- struct{}) *lane {
	return &lane{
		Ingest: i, partition: p, decoder: i.decoder.Clone(), wake: wake, counts: counts{},
		slab: &slab{}, spare: &slab{}, next: start, expect: start, read: newRead(p),
	}
}

// handle takes a batch into the slab. It waits while the memory is full.
func (l *lane) handle(ctx context.Context, b *kafkain.Batch) error {
	now := time.Now().UnixMilli()
	secret.GrowStack()
	clear(l.counts)
	l.mu.Lock()
	before := l.slab.bytes
	if len(b.Records) == 0 && b.Next < l.next {
		// The partition's log was cut short: what it has now is new, though its offsets are not.
		l.next, l.expect = b.Next, b.Next
	}
	l.takeAll(b, now)
	secret.WipeStack()
	l.note(b)
	l.next = max(l.next, b.Next)
	grown := l.slab.bytes - before
	l.mu.Unlock()
	l.metrics.add(l.counts)
	return l.reserve(ctx, grown)
}

func (l *lane) takeAll(b *kafkain.Batch, now int64) {
	for i := range b.Records {
		r := &b.Records[i]
		result, events := "", 1
		l.under = nil
		if seal.IsBatch(r.Value) {
			result, events = l.takeSealed(b, r, now)
		} else {
			result = l.take(b, r, now)
		}
		if result != "" {
			l.counts[result] += events
			l.refused(r, result, events, now)
		}
	}
}

// reserve accounts for memory that the slab has taken already, so that a
// partition is at most one batch over the bound.
func (l *lane) reserve(ctx context.Context, bytes int64) error {
	bytes = min(bytes, l.config.Memory)
	l.metrics.waiting.Add(float64(bytes))
	if !l.memory.TryAcquire(bytes) {
		l.ask()
		if err := l.memory.Acquire(ctx, bytes); err != nil {
			l.metrics.waiting.Sub(float64(bytes))
			return nil // the generation is over: what it did not store is read again
		}
		defer l.ask() // these events may be stored by now, and others wait for their memory
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held += bytes
	return nil
}

// ask wakes the generation to flush before its time.
func (l *lane) ask() {
	select {
	case l.wake <- struct{}{}:
	default: // it is awake
	}
}

// wipe erases what has come due while it waited: memory is a copy, too.
func (l *lane) wipe(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slab.wipe(now)
}

// harvest takes the slab, how far it reaches, what was read, and the memory to give
// back once it is stored. Until erased, the slab must not be harvested again.
func (l *lane) harvest() (s *slab, next int64, read tally.Read, held int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, next, read, held = l.slab, l.next, l.read, l.held
	l.slab, l.spare, l.read, l.held = l.spare, s, newRead(l.partition), 0
	return s, next, read, held
}

// take judges one message and returns its result, "" for an event that waits.
func (l *lane) take(b *kafkain.Batch, r *kafkain.Record, now int64) string {
	if !l.fresh(r) {
		return resultDuplicate
	}
	if l.sealedOnly {
		return resultPlain
	}
	if refusal := l.decoder.Decode(r.Value, &l.event); refusal != event.Accepted {
		return string(refusal)
	}
	skew := l.config.Skew.Milliseconds()
	switch {
	case l.event.Time > r.Stamp+skew:
		return resultTimeFuture
	case !b.AppendTime && r.Stamp > now+skew:
		return resultStampFuture
	}
	l.event.Topic = b.Partition.Topic
	t := min(l.event.Time, r.Stamp)
	if !l.choose(t) {
		return resultNoPolicy
	}
	if l.choice.deadline <= now {
		return resultExpired
	}
	id := record.ID{Topic: b.Partition.ID, Partition: b.Partition.Number, Offset: r.Offset}
	l.slab.add(&l.choice, id, t, &l.event)
	return ""
}

// fresh reports whether a message is delivered for the first time.
func (l *lane) fresh(r *kafkain.Record) bool {
	if r.Offset < l.expect {
		return false
	}
	l.expect = r.Offset + 1
	return true
}

// choose sets the choice for the event at hand; false: no policy matches.
func (l *lane) choose(t int64) bool {
	p := l.policies.For(&l.event)
	if p == nil {
		return false
	}
	l.under = p
	c := &l.choice
	if c.policy == p && t >= c.epoch.Start && t < c.epoch.Start+c.epoch.Length {
		return true
	}
	epoch := p.EpochAt(time.UnixMilli(t))
	*c = choice{policy: p, epoch: epoch, deadline: epoch.Deadline(p.Window).UnixMilli(), keep: keeps{
		transport: slices.Contains(p.Keep, "transport"),
		client:    slices.Contains(p.Keep, "client"),
		outcome:   slices.Contains(p.Keep, "outcome"),
	}}
	return true
}
