package receipts

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"mayfly/retention"
)

// Debt is an epoch for which the log owes an outcome.
type Debt struct {
	Epoch    retention.Epoch
	Deadline time.Time
	Keys     []*Key // logged ones; none: as far as this log says, never minted
}

// ledger is what a log's entries promise and have not yet settled. The caller
// locks.
type ledger struct {
	policies map[string]*Policy
	latest   map[string]*Policy // the same, and those that were removed
	marks    map[line]int64     // the latest start of an epoch that has ended
	spans    []*span
	keys     map[retention.Epoch][]*Key // of epochs without outcome
}

// span is a run of epochs of one length that a policy owes.
type span struct {
	policy  string
	length  int64 // milliseconds
	window  int64
	next    int64          // every epoch that starts before it is settled
	until   int64          // no epoch starts at or after it
	settled map[int64]bool // starts at or after next
}

func newLedger() *ledger {
	return &ledger{
		policies: map[string]*Policy{}, latest: map[string]*Policy{}, marks: map[line]int64{}, keys: map[retention.Epoch][]*Key{},
	}
}

// line is the epochs of one length of a policy.
type line struct {
	policy string
	length int64
}

// apply takes one entry over.
func (l *ledger) apply(e Entry) {
	switch e := e.(type) {
	case *Policy:
		l.replacePolicy(e)
	case *Removed:
		delete(l.policies, e.Name)
		l.closeSpans(e.Name, e.Time.UnixMilli())
	case *Key:
		l.keys[e.Epoch] = append(l.keys[e.Epoch], e)
	case *Purged:
		l.settle(e.Epoch, 1)
	case *NeverMinted:
		l.settle(e.Epoch, e.Count)
	}
}

func (l *ledger) replacePolicy(e *Policy) {
	length := e.Length.Milliseconds()
	first := e.First
	l.closeSpans(e.Name, e.Time.UnixMilli())
	of := line{e.Name, length}
	_, known := l.marks[of]
	for _, s := range l.spans {
		if s.policy == e.Name && s.length == length {
			first = max(first, s.until+(length-s.until%length)%length)
			known = true
		}
	}
	if earlier := l.latest[e.Name]; earlier != nil && !known && e.Window > earlier.Window {
		l.marks[of] = e.First - length // what a longer window does not reach
	}
	l.policies[e.Name], l.latest[e.Name] = e, e
	l.spans = append(l.spans, &span{
		policy: e.Name, length: length, window: e.Window.Milliseconds(),
		next: first, until: math.MaxInt64, settled: map[int64]bool{},
	})
}

func (l *ledger) closeSpans(policy string, at int64) {
	for _, s := range l.spans {
		if s.policy == policy {
			s.until = min(s.until, at)
		}
	}
	l.spans = slices.DeleteFunc(l.spans, func(s *span) bool { return s.next >= s.until })
}

func (l *ledger) settle(first retention.Epoch, count int64) {
	of, last := line{first.Policy, first.Length}, first.Start+(count-1)*first.Length
	if mark, marked := l.marks[of]; !marked || mark < last {
		l.marks[of] = last
	}
	for _, s := range l.spans {
		if s.policy != first.Policy || s.length != first.Length {
			continue
		}
		for start := max(first.Start, s.next); start < first.Start+count*first.Length && start < s.until; start += s.length {
			s.settled[start] = true
		}
		for s.settled[s.next] {
			delete(s.settled, s.next)
			s.next += s.length
		}
	}
	if count == 1 {
		delete(l.keys, first)
		return
	}
	maps.DeleteFunc(l.keys, func(e retention.Epoch, _ []*Key) bool {
		return e.Policy == first.Policy && e.Length == first.Length && e.Start >= first.Start && e.Start < first.Start+count*first.Length
	})
}

// mostDebts bounds one answer; the others are in the next.
const mostDebts = 10_000

// owed lists the debts whose deadline has come, oldest first.
func (l *ledger) owed(now time.Time) []Debt {
	var debts []Debt
	for _, s := range l.spans {
		for start := s.next; start < s.until && start+s.window <= now.UnixMilli() && len(debts) < mostDebts; start += s.length {
			e := retention.Epoch{Policy: s.policy, Start: start, Length: s.length}
			if !s.settled[start] && l.keys[e] == nil {
				debts = append(debts, Debt{Epoch: e, Deadline: time.UnixMilli(start + s.window)})
			}
		}
	}
	for e, keys := range l.keys {
		deadline := slices.MinFunc(keys, func(a, b *Key) int { return a.Deadline.Compare(b.Deadline) }).Deadline
		if !deadline.After(now) {
			debts = append(debts, Debt{Epoch: e, Deadline: deadline, Keys: slices.Clone(keys)})
		}
	}
	slices.SortFunc(debts, func(a, b Debt) int {
		return cmp.Or(cmp.Compare(a.Epoch.Policy, b.Epoch.Policy), cmp.Compare(a.Epoch.Length, b.Epoch.Length),
			cmp.Compare(a.Epoch.Start, b.Epoch.Start))
	})
	return debts
}
