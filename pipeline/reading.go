package pipeline

import (
	"time"

	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/tally"
)

// What a lane has read, and what it has refused, goes into the receipts of purges.

func newRead(p kafkain.Partition) tally.Read {
	return tally.Read{Source: tally.Source{Topic: p.ID, Partition: p.Number}, Name: p.Topic}
}

// note adds the offsets of a batch to what was read: all but those that have vanished.
func (l *lane) note(b *kafkain.Batch) {
	at, vanished := l.next, b.Gap
	for i := 0; vanished > 0 && i <= len(b.Records); i++ {
		end, next := b.Next, b.Next
		if i < len(b.Records) {
			end, next = b.Records[i].Offset, b.Records[i].Offset+1
		}
		hole := min(vanished, max(0, end-at))
		l.reach(at, end-hole)
		l.reach(max(at, end), next)
		at, vanished = max(at, next), vanished-hole
	}
	l.reach(at, b.Next)
}

func (l *lane) reach(from, next int64) {
	if next <= from {
		return
	}
	if n := len(l.read.Ranges); n > 0 && l.read.Ranges[n-1].Next == from {
		l.read.Ranges[n-1].Next = next
		return
	}
	l.read.Ranges = append(l.read.Ranges, tally.Range{From: from, Next: next})
}

// refused counts what a message became that is not going to be stored. It is
// charged to the epoch in which it was written to Kafka, of its policy where it has one,
// else of the first: so a replay charges the same one. Where that epoch is over, or will
// be before long, the present one has it.
func (l *lane) refused(r *kafkain.Record, result string, events int, now int64) {
	if result == resultDuplicate {
		return
	}
	p, counts := l.under, tally.Counts{Rejected: int64(events)}
	if p == nil {
		p = &l.policies[0]
	}
	if result == resultExpired {
		counts = tally.Counts{Expired: int64(events)}
	}
	at := min(r.Stamp, now)
	if now-at > p.Window.Milliseconds()/2 {
		at = now
	}
	epoch := p.EpochAt(time.UnixMilli(at))
	if l.read.Refused == nil {
		l.read.Refused = map[retention.Epoch]tally.Refused{}
	}
	before := l.read.Refused[epoch]
	l.read.Refused[epoch] = tally.Refused{
		Counts:   tally.Counts{Rejected: before.Rejected + counts.Rejected, Expired: before.Expired + counts.Expired},
		Deadline: epoch.Deadline(p.Window),
	}
}
