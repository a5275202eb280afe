package warden

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Ready is nil while every epoch is minted and purged in time, else what is wrong.
func (w *Warden) Ready() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.trouble, w.lacking)
}

// Epochs lists the living epochs and those purged within the last window, by
// policy, oldest first.
func (w *Warden) Epochs() []Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]Status, 0, len(w.epochs))
	for _, s := range w.epochs {
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Epoch.Policy, b.Epoch.Policy), cmp.Compare(a.Epoch.Start, b.Epoch.Start),
			cmp.Compare(a.Epoch.Length, b.Epoch.Length))
	})
	return list
}

// settle publishes the state after a round: readiness, gauges, and a log line
// where trouble begins or ends.
func (w *Warden) settle(now time.Time, trouble error) {
	w.mu.Lock()
	before := w.trouble
	w.trouble = trouble
	overdue := 0
	oldest := map[string]time.Time{}
	for epoch, s := range w.epochs {
		if s.Purged {
			continue
		}
		if !s.Deadline.After(now.Add(-w.allowance())) {
			overdue++
		}
		if t, there := oldest[epoch.Policy]; !there || epoch.StartTime().Before(t) {
			oldest[epoch.Policy] = epoch.StartTime()
		}
	}
	w.mu.Unlock()
	w.metrics.overdue.Set(float64(overdue))
	w.publishOldest(oldest, now)
	switch {
	case trouble != nil && before == nil:
		w.d.Log.Error("retention is not enforced in full; trying again", zap.Int("overdue_epochs", overdue), zap.Error(trouble))
	case trouble == nil && before != nil:
		w.d.Log.Info("retention is enforced in full again")
	}
}

// publishOldest sets the age of what is readable: of a policy that has nothing
// unpurged left it is 0, and one that was removed is then shown no more. Only Run's
// round calls it.
func (w *Warden) publishOldest(oldest map[string]time.Time, now time.Time) {
	for policy := range w.shown {
		if _, there := oldest[policy]; !there {
			w.metrics.oldest.DeleteLabelValues(policy)
			delete(w.shown, policy)
		}
	}
	for policy, start := range oldest {
		w.metrics.oldest.WithLabelValues(policy).Set(now.Sub(start).Seconds())
		w.shown[policy] = true
	}
	for i := range w.d.Policies {
		if name := w.d.Policies[i].Name; !w.shown[name] {
			w.metrics.oldest.WithLabelValues(name).Set(0)
		}
	}
}

// settleRepair publishes the state after a round of repairs, and returns it.
func (w *Warden) settleRepair(lacking error) error {
	w.mu.Lock()
	before := w.lacking
	w.lacking = lacking
	w.mu.Unlock()
	if lacking != nil && (before == nil || errors.Is(before, errStarting)) {
		w.d.Log.Warn("not every living epoch has its key; trying again", zap.Error(lacking))
	}
	return lacking
}
