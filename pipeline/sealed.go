package pipeline

import (
	"slices"
	"time"
	"unsafe"

	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// takeSealed judges a batch that was sealed at the edge, by its head and its
// record: ingest can't open it. It returns the result, "" for a batch that waits,
// and how many events that is of. What only the reader can judge, the events' own
// times, it judges when it opens them.
func (l *lane) takeSealed(b *kafkain.Batch, r *kafkain.Record, now int64) (result string, events int) {
	fresh := l.fresh(r)
	batch, err := seal.ParseBatch(r.Value)
	switch {
	case err != nil && !fresh:
		return resultDuplicate, 1
	case err != nil:
		return resultBadBatch, 1
	case !fresh:
		return resultDuplicate, batch.Events
	}
	skew := l.config.Skew.Milliseconds()
	p := l.policy(batch.Epoch)
	l.under = p
	switch {
	case p == nil:
		return resultNoPolicy, batch.Events
	case batch.Epoch.Start > r.Stamp+skew:
		return resultTimeFuture, batch.Events
	case !b.AppendTime && r.Stamp > now+skew:
		return resultStampFuture, batch.Events
	}
	deadline := batch.Epoch.Deadline(p.Window)
	if deadline.UnixMilli() <= now {
		return resultExpired, batch.Events
	}
	id := record.ID{Topic: b.Partition.ID, Partition: b.Partition.Number, Offset: r.Offset}
	l.slab.addSealed(&store.Batch{Epoch: batch.Epoch, Deadline: deadline, Edge: &store.EdgeBatch{Batch: batch, ID: id}})
	return "", batch.Events
}

// policy finds the one that an epoch is of. Of another length than the policy's it
// is none of its: else a producer could make ingest ask the keyring for any number.
func (l *lane) policy(e retention.Epoch) *retention.Policy {
	i := slices.IndexFunc(l.policies, func(p retention.Policy) bool {
		return p.Name == e.Policy && p.EpochLength() == time.Duration(e.Length)*time.Millisecond
	})
	if i < 0 {
		return nil
	}
	return &l.policies[i]
}

// addSealed takes a sealed batch as it is.
func (s *slab) addSealed(b *store.Batch) {
	s.batches = append(s.batches, *b)
	for i := range b.Edge.Frames {
		s.bytes += int64(unsafe.Sizeof(seal.Frame{})) + int64(len(b.Edge.Frames[i].Bytes()))
	}
	s.bytes += int64(unsafe.Sizeof(*b)+unsafe.Sizeof(*b.Edge)) + int64(len(b.Edge.Wrap.Encapsulated))
}
