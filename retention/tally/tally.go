// Package tally says what ingest has read from Kafka for an epoch: which offsets,
// and what became of the messages in them. It holds nothing of anybody: no address,
// no account, no time of an event. Packages store and pipeline fill it in, the warden's
// receipts say what it came to.
//
// An ingest process keeps a Reading from one assignment of partitions to the next. It
// goes, sealed, into the manifests of the epochs that it is about; Merge makes one Sum of
// all that were written for an epoch. The invariant: a message that was read again,
// after a crash, a rebalance or a failover, counts once, and where that can't be told
// apart the Sum says that it is Partial. It never counts more than there was.
package tally

import (
	"cmp"
	"slices"
	"time"
)

// Source is one partition of a topic, which a re-created topic does not share.
type Source struct {
	Topic     [16]byte // its UUID
	Partition int32
}

// Compare orders sources.
func (s Source) Compare(other Source) int {
	return cmp.Or(slices.Compare(s.Topic[:], other.Topic[:]), cmp.Compare(s.Partition, other.Partition))
}

// Counts say what became of messages.
type Counts struct {
	Stored   int64 // events
	Rejected int64 // messages that are no event, or one that nothing may keep
	Expired  int64 // events past their deadline
}

// add stops far above what there can be, instead of overflowing.
func (c *Counts) add(other Counts) {
	c.Stored = min(c.Stored+other.Stored, maxSum)
	c.Rejected = min(c.Rejected+other.Rejected, maxSum)
	c.Expired = min(c.Expired+other.Expired, maxSum)
}

func (c *Counts) sum() int64 { return c.Stored + c.Rejected + c.Expired }

// Range is the offsets from From up to, and without, Next.
type Range struct{ From, Next int64 }

// Span is a range that was read as a whole, and what of it counts for an epoch.
type Span struct {
	Range
	Counts
}

// Refused are messages that were not stored, charged to an epoch that lives.
type Refused struct {
	Counts
	Deadline time.Time // of that epoch
}

// Trail is what a Reading says of one source.
type Trail struct {
	Source
	Spans []Span // ascending
}

// Tally is what one Reading says of one epoch.
type Tally struct {
	Reader   [8]byte // which Reading
	Revision uint64  // the highest of a Reader's counts
	Blurred  bool    // what was read apart was put together
	Loose    Counts  // of no offset
	Names    map[[16]byte]string
	Trails   []Trail
}
