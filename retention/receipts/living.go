package receipts

import (
	"time"

	"mayfly/retention"
)

// What the log knows of epochs that may live: a keyring that lost everything knows
// none of it.

// Had reports whether a key was announced for an epoch that has not ended.
func (l *Log) Had(epoch retention.Epoch) bool {
	l.state.Lock()
	defer l.state.Unlock()
	return len(l.ledger.keys[epoch]) > 0
}

// Marks are, of each policy and each length of its epochs, the latest that has
// ended.
func (l *Log) Marks() []retention.Epoch {
	l.state.Lock()
	defer l.state.Unlock()
	marks := make([]retention.Epoch, 0, len(l.ledger.marks))
	for of, start := range l.ledger.marks {
		marks = append(marks, retention.Epoch{Policy: of.policy, Start: start, Length: of.length})
	}
	return marks
}

// Deadline is an epoch's, by the terms under which it began; false: it has ended,
// or began before there were terms that it could live under, and can have no key.
func (l *Log) Deadline(epoch retention.Epoch, now time.Time) (time.Time, bool) {
	l.state.Lock()
	defer l.state.Unlock()
	return l.ledger.deadline(epoch, now)
}

func (l *ledger) deadline(epoch retention.Epoch, now time.Time) (deadline time.Time, living bool) {
	if mark, marked := l.marks[line{epoch.Policy, epoch.Length}]; marked && epoch.Start <= mark {
		return time.Time{}, false
	}
	for _, s := range l.spans {
		if s.policy == epoch.Policy && s.length == epoch.Length && s.next <= epoch.Start && epoch.Start < s.until {
			deadline, living = time.UnixMilli(epoch.Start+s.window), true
		}
	}
	for _, key := range l.keys[epoch] {
		if living && key.Deadline.Before(deadline) {
			deadline = key.Deadline
		}
	}
	return deadline, living && deadline.After(now)
}

// Latest are the terms that applied last to each policy, be it removed or not.
func (l *Log) Latest() map[string]*Policy {
	l.state.Lock()
	defer l.state.Unlock()
	latest := make(map[string]*Policy, len(l.ledger.latest))
	for name, p := range l.ledger.latest {
		latest[name] = p
	}
	return latest
}

// After makes e follow earlier terms of its policy. A window that is longer than it
// was reaches only epochs that begin from then on: the others were purged, or are
// going to be as it was said when they began. An epoch of another length that is
// under way is the first of its own.
func (e *Policy) After(earlier *Policy, now time.Time) {
	length := e.Length.Milliseconds()
	e.First = max(e.First, (earlier.First+length-1)/length*length)
	if e.Window <= earlier.Window {
		return
	}
	present := now.UnixMilli() / length * length
	if e.Length == earlier.Length {
		present += length
	}
	e.First = max(e.First, present)
}
