package audit

import (
	"cmp"
	"fmt"
	"slices"

	"mayfly/retention/receipts"
	"mayfly/retention/tally"
)

// TopicResult is what the purged epochs of all policies had of one topic.
type TopicResult struct {
	Name       string            `json:"name"` // empty: no purge names it
	ID         string            `json:"id"`
	Partitions []PartitionResult `json:"partitions"`
}

// PartitionResult is the offsets of one partition that belong to purged epochs, and
// those in between that belong to none: nobody has said that they were read.
type PartitionResult struct {
	Partition int64    `json:"partition"`
	First     int64    `json:"first"`
	Last      int64    `json:"last"`
	Gaps      []Offset `json:"gaps,omitempty"`
}

// Offset is a run of offsets.
type Offset struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

func (o Offset) String() string {
	if o.First == o.Last {
		return fmt.Sprint(o.First)
	}
	return fmt.Sprintf("%d to %d", o.First, o.Last)
}

// Title is the topic's name, or what there is instead.
func (t *TopicResult) Title() string { return cmp.Or(t.Name, t.ID) }

// Missing is how many offsets the gaps have.
func (t *TopicResult) Missing() (n int64) {
	for _, p := range t.Partitions {
		for _, gap := range p.Gaps {
			n += gap.Last - gap.First + 1
		}
	}
	return n
}

// offsets gathers ranges by topic and partition.
type offsets struct {
	topics map[string]*topicOffsets // by id
	latest *topicOffsets            // found last
}

type topicOffsets struct {
	id, name   string
	partitions map[int64]*[]tally.Range
}

func (o *offsets) add(topics []receipts.Topic) {
	for i := range topics {
		t := o.topic(&topics[i])
		for _, r := range topics[i].Ranges {
			list := t.partitions[r.Partition]
			if list == nil {
				list = &[]tally.Range{}
				t.partitions[r.Partition] = list
			}
			next := tally.Range{From: r.First, Next: r.Last + 1}
			if n := len(*list); n > 0 { // epochs come in order: mostly it goes on
				if last := &(*list)[n-1]; last.From <= next.From && next.From <= last.Next {
					last.Next = max(last.Next, next.Next)
					continue
				}
			}
			*list = append(*list, next)
		}
	}
}

func (o *offsets) topic(of *receipts.Topic) *topicOffsets {
	if o.latest == nil || o.latest.id != of.ID {
		if o.topics == nil {
			o.topics = map[string]*topicOffsets{}
		}
		if o.topics[of.ID] == nil {
			o.topics[of.ID] = &topicOffsets{id: of.ID, partitions: map[int64]*[]tally.Range{}}
		}
		o.latest = o.topics[of.ID]
	}
	o.latest.name = cmp.Or(o.latest.name, of.Name)
	return o.latest
}

func (o *offsets) results() []TopicResult {
	results := []TopicResult{}
	for _, t := range o.topics {
		result := TopicResult{Name: t.name, ID: t.id}
		for _, number := range sortedKeys(t.partitions) {
			ranges := tally.Join(*t.partitions[number])
			p := PartitionResult{Partition: number, First: ranges[0].From, Last: ranges[len(ranges)-1].Next - 1}
			for i := range ranges[1:] {
				p.Gaps = append(p.Gaps, Offset{ranges[i].Next, ranges[i+1].From - 1})
			}
			result.Partitions = append(result.Partitions, p)
		}
		results = append(results, result)
	}
	slices.SortFunc(results, func(a, b TopicResult) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return results
}

// count adds what a purged epoch had held: as the purge says that counted last, where
// several wardens have logged one.
func (j *judge) count(outcomes []outcome) {
	var t *receipts.Tally
	for i := range outcomes {
		if other := outcomes[i].tally; other != nil && (t == nil || t.Counted.Before(other.Counted)) {
			t = other
		}
	}
	if t == nil {
		j.policy.Uncounted++
		return
	}
	j.policy.Stored += t.Stored
	j.policy.Rejected += t.Rejected
	j.policy.Expired += t.Expired
	if t.Partial || t.Omitted > 0 {
		j.policy.Partial++
	}
	j.offsets.add(t.Topics)
}
