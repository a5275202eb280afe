package warden

import (
	"context"
	"sync"
	"time"

	"mayfly/retention"
	"mayfly/retention/sweep"
)

// explanations say during one round of a sweep what is to be of each epoch's keys.
type explanations struct {
	of  *Warden
	now time.Time

	mu    sync.Mutex // guards rules: the primaries of a Cluster are swept side by side
	rules map[string]sweep.Rule
}

// rule is of all keys of an epoch, by its name. What is no epoch explains nothing.
func (x *explanations) rule(ctx context.Context, name string) sweep.Rule {
	x.mu.Lock()
	defer x.mu.Unlock()
	rule, known := x.rules[name]
	if known {
		return rule
	}
	rule.Unexplained = true
	if epoch, err := retention.ParseEpoch(name); err == nil {
		rule = x.of.explain(ctx, epoch, x.now)
	}
	if x.rules == nil {
		x.rules = map[string]sweep.Rule{}
	}
	x.rules[name] = rule
	return rule
}

// sweepGrace is what a purge and a new epoch are left alone for.
const sweepGrace = time.Minute

// explain gives the time by which nothing of an epoch may be left, and whether
// there should be nothing now. Only what is known to be over is that: an epoch that
// neither a policy nor a key names may be another deployment's.
func (w *Warden) explain(ctx context.Context, epoch retention.Epoch, now time.Time) sweep.Rule {
	w.mu.Lock()
	s, known := w.epochs[epoch], now.Sub(w.adopted) < sweepGrace // what has a key
	if s != nil {
		defer w.mu.Unlock()
		return sweep.Rule{Ours: true, By: s.Deadline, Dead: s.Purged && !s.seen || now.Sub(s.Deadline) > sweepGrace}
	}
	w.mu.Unlock()
	by, named := w.by(epoch)
	switch {
	case now.Sub(by) > sweepGrace || !named && w.over(ctx, epoch):
		return sweep.Rule{Ours: true, By: by, Dead: true}
	case named || w.had(epoch):
		return sweep.Rule{Ours: true, By: by}
	}
	return sweep.Rule{Ours: true, By: by, Unexplained: known && now.Sub(epoch.EndTime()) > sweepGrace}
}

// by is an epoch's deadline under its policy, be it one of now or, by the log, a
// removed one; where nobody names it, under the longest that there can be.
func (w *Warden) by(epoch retention.Epoch) (deadline time.Time, named bool) {
	for i := range w.d.Policies {
		if p := &w.d.Policies[i]; p.Name == epoch.Policy {
			return epoch.Deadline(p.Window), true
		}
	}
	if w.d.Receipts != nil {
		if p := w.d.Receipts.Latest()[epoch.Policy]; p != nil && p.Length.Milliseconds() == epoch.Length {
			return epoch.Deadline(p.Window), false
		}
	}
	return epoch.Deadline(retention.MaxWindow), false
}

// over reports whether an epoch has ended by the log, or by a node's purged-through mark.
func (w *Warden) over(ctx context.Context, epoch retention.Epoch) bool {
	return w.ended()(epoch) || w.d.Keyring.Purged(ctx, epoch)
}
