package store

import (
	"context"
	"slices"
	"time"

	"mayfly/retention/seal"
)

// A manifest claims the frames that a writer has stored, so that a loss shows. After
// a failover the last frames may be lost although Kafka still has their events: they
// are read and stored again, by new writers, and the old claim would make every
// answer incomplete until the epoch dies. So a writer remembers what it claimed
// when, and takes back what has been stored anew. What was committed before stays
// claimed: nobody reads that again.

// claim is what a writer had stored at a time.
type claim struct {
	when    time.Time
	records uint64
	frames  [2][]uint64 // by view and shard
}

// written is how many frames of a view and shard it claims.
func (c claim) written(view seal.View, shard uint32) uint64 {
	if of := c.frames[slices.Index(seal.Views, view)]; of != nil {
		return of[shard]
	}
	return 0
}

// Note remembers that all that was appended is stored by now; instead of what it was
// told last, where that was an instant that Settle is not going to name.
func (w *Writer) Note(now time.Time, instead bool) {
	for s := range w.each {
		if n := len(s.claims); instead && n > 0 && s.claims[n-1].when.Equal(w.noted) {
			s.claims = s.claims[:n-1]
		}
		if n := len(s.claims); n == 0 || s.claims[n-1].records < s.records {
			s.note(now)
		}
	}
	w.noted = now
}

func (s *sealer) note(now time.Time) {
	c := claim{when: now, records: s.records}
	for v, view := range seal.Views {
		c.frames[v] = make([]uint64, s.key.Shards)
		for shard := range c.frames[v] {
			c.frames[v][shard] = s.Written(view, uint32(shard)) //nolint:gosec // bounded by Shards
		}
	}
	s.claims = append(s.claims, c)
}

// settled gives what was stored at or before a time, and forgets what was before that.
func (s *sealer) settled(until time.Time) claim {
	base := -1
	for base+1 < len(s.claims) && !s.claims[base+1].when.After(until) {
		base++
	}
	if base < 0 {
		return claim{}
	}
	s.claims = s.claims[base:]
	return s.claims[0]
}

// Settle says that all that was stored by a time, one of those noted, is not read
// again, or has been stored for so long that no failover loses it.
func (w *Writer) Settle(until time.Time) {
	for s := range w.each {
		s.settled(until)
	}
	w.committed = until
}

// Committed says that Kafka has confirmed it: everybody reads on from there.
func (w *Writer) Committed(until time.Time) { w.reading.Settle(until) }

// withdrawal is a manifest that claims only what was committed, sealed already: the
// writer's frame key need not be kept for it.
type withdrawal struct {
	deadline time.Time
	manifest seal.Frame
}

// Disown ends the present writers: what they have stored since the last Settle may
// be lost, and is read again. Withdraw then takes their claims back.
func (w *Writer) Disown() {
	for s := range w.each {
		base := s.settled(w.committed)
		w.payload = appendManifest(w.payload[:0], base.records, s.key.Shards, base.written)
		w.payload = w.reading.AppendSettled(w.payload, s.key.Epoch, w.committed)
		w.disowned = append(w.disowned, withdrawal{s.key.Deadline, s.Seal(seal.Manifest, 0, w.payload)})
		clear(w.payload[:cap(w.payload)])
	}
	w.Forget()
	w.pending = false
}

// Disowned reports whether there is anything to withdraw.
func (w *Writer) Disowned() bool { return len(w.disowned) > 0 }

// Withdraw takes back what disowned writers claimed beyond what was committed.
// It must come only after all of that has been stored again.
func (w *Writer) Withdraw(ctx context.Context) error {
	for len(w.disowned) > 0 {
		if d := w.disowned[0]; time.Now().Before(d.deadline) {
			if err := w.store.Append(ctx, d.deadline, nil, d.manifest); err != nil {
				return err
			}
		}
		w.disowned = w.disowned[1:]
	}
	return nil
}

// each yields every writer of the present.
func (w *Writer) each(yield func(*sealer) bool) {
	for _, s := range w.sealers {
		if !yield(s) {
			return
		}
	}
	for _, s := range w.edge {
		if !yield(s.sealer) {
			return
		}
	}
}
