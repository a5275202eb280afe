package audit

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// What purges say is added up once, whoever says it, and what lies between is named.
func TestOffsetsAndCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthor(t)
		p := receipts.NewPolicy(&policy, time.Now())
		p.First = policy.EpochAt(time.Now()).Start
		a.record(p)
		first := retention.Epoch{Policy: policy.Name, Start: p.First, Length: policy.Epoch.Milliseconds()}
		time.Sleep(policy.Window + 10*policy.Epoch)
		say := func(i int, tally *receipts.Tally) *receipts.Purged {
			e := nth(first, i)
			end := purged(e, e.Deadline(policy.Window), strings.Repeat("0", 15)+string(rune('0'+i)))
			end.Tally = tally
			if tally != nil {
				tally.Counted = end.At
			}
			return end
		}
		id := strings.Repeat("1f", 16)
		of := func(name string, ranges ...receipts.OffsetRange) *receipts.Tally {
			return &receipts.Tally{Stored: 5, Rejected: 3, Expired: 1, Topics: []receipts.Topic{{ID: id, Name: name, Ranges: ranges}}}
		}
		r := func(partition, first, last int64) receipts.OffsetRange {
			return receipts.OffsetRange{Partition: partition, First: first, Last: last}
		}
		for i := range 6 {
			a.record(key(nth(first, i), i))
		}
		partial := of("connections", r(0, 100, 110))
		partial.Partial = true
		a.record(say(0, of("", r(0, 0, 9), r(2, 7, 7))), say(1, of("connections", r(0, 5, 19), r(0, 30, 39))),
			say(2, nil), say(3, partial), say(4, of("connections", r(0, 20, 25), r(2, 8, 8))), say(5, &receipts.Tally{}))
		o := a.options()
		o.To = nth(first, 5).Deadline(policy.Window).Add(o.Grace)
		result, err := Verify([]string{a.dir}, o)
		if err != nil || result.Err() != nil {
			t.Fatal(err, result.Err())
		}
		got := result.Policies[0]
		if got.Purged != 6 || got.Stored != 20 || got.Rejected != 12 || got.Expired != 4 || got.Uncounted != 1 || got.Partial != 1 {
			t.Errorf("%+v", got)
		}
		want := []TopicResult{{Name: "connections", ID: id, Partitions: []PartitionResult{
			{Partition: 0, First: 0, Last: 110, Gaps: []Offset{{26, 29}, {40, 99}}}, {Partition: 2, First: 7, Last: 8},
		}}}
		if diff := cmp.Diff(want, result.Topics); diff != "" {
			t.Error(diff)
		}
		if n := result.Topics[0].Missing(); n != 64 {
			t.Errorf("%d are missing", n)
		}
	})
}
