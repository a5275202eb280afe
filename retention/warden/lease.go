package warden

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayfly/retention/keyring"
)

// Of several wardens one is active, by a lease on the keyring's nodes. It mints,
// purges, and writes the receipts. The others stand by: they know every epoch, see
// to it that what is due is gone, and take over when the lease has run out. Where
// something is overdue by more than a lease they purge it, lease or no lease: the
// active one may be alive and yet cut off from a node.

// standByEvery is how often a standby looks.
const standByEvery = time.Second

// newName tells wardens apart, those of one machine too.
func newName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "warden"
	}
	return host + "-" + rand.Text()[:6]
}

// Active reports whether this warden has the lease.
func (w *Warden) Active() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active
}

// Holder is the name of the active warden, "" where none is known.
func (w *Warden) Holder() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holder
}

// hold asks for the lease, and tells when to ask again.
func (w *Warden) hold(ctx context.Context) time.Duration {
	again := w.config.Lease / 3
	lease, err := w.d.Keyring.Lease(ctx, w.name, w.config.Lease)
	switch {
	case err != nil:
		// Whoever was active goes on, and fails aloud; so does one who has just begun.
		if w.Holder() == "" {
			w.take(true, "")
		}
		return w.config.Retry
	case lease.Holder == w.name:
		w.take(true, w.name)
		return again
	case lease.Holder == "": // each of several has some: all give it back, and try again at random
		_, _ = w.d.Keyring.Lease(ctx, w.name, 0)
		w.take(false, "")
		var odds [1]byte
		_, _ = rand.Read(odds[:])
		return w.config.Retry + w.config.Retry*time.Duration(odds[0])/256
	}
	w.take(false, lease.Holder)
	return min(again, lease.Left) + time.Millisecond
}

// take notes who has the lease.
func (w *Warden) take(active bool, holder string) {
	w.mu.Lock()
	before, known := w.active, w.holder
	w.active, w.holder = active, holder
	w.mu.Unlock()
	if active {
		w.metrics.active.Set(1)
	} else {
		w.metrics.active.Set(0)
	}
	switch {
	case active && !before:
		w.d.Log.Info("this warden is active", zap.String("name", w.name))
		select {
		case w.turn <- struct{}{}:
		default:
		}
	case !active && before:
		w.d.Log.Warn("another warden is active: standing by", zap.String("active", holder))
	case !active && known == "" && holder != "":
		w.d.Log.Info("another warden is active: standing by", zap.String("active", holder))
	}
}

// keepHolding renews the lease, or waits for it, until ctx ends; then it gives it back.
func (w *Warden) keepHolding(ctx context.Context, wait time.Duration) error {
	for {
		sleep(ctx, wait)
		if ctx.Err() != nil {
			break
		}
		wait = w.hold(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.config.Lease)
	defer cancel()
	_, _ = w.d.Keyring.Lease(ctx, w.name, 0) // else it runs out
	return nil
}

// pause waits until then, or until it is this warden's turn.
func (w *Warden) pause(ctx context.Context, until time.Time) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(until)):
	case <-w.turn:
	}
}

// allowance is how long after its deadline an epoch is no cause for alarm: a standby
// leaves it to the active warden for a lease. The caller holds mu.
func (w *Warden) allowance() time.Duration {
	if w.active {
		return 0
	}
	return w.config.Lease
}

// standBy keeps the list of epochs, those that its own log owes with them, and
// verifies that what is due is gone.
func (w *Warden) standBy(ctx context.Context, now time.Time) error {
	w.collect(now)     // who was active before may find them ended when its turn comes again
	ended := w.ended() // it may live by a longer window, and its end is written only once
	for i := range w.d.Policies {
		p := &w.d.Policies[i]
		for _, epoch := range p.Live(now) {
			if !ended(epoch) {
				w.status(epoch, epoch.Deadline(p.Window))
			}
		}
	}
	var errs []error
	advanced := sync.OnceValue(func() error { return w.advance()() })
	for _, s := range w.dueSoon(now) {
		if err := w.standByFor(ctx, s, now, advanced); err != nil {
			errs = append(errs, fmt.Errorf("epoch %v: %w", s.Epoch, err))
		}
	}
	return errors.Join(errs...)
}

// dueSoon lists the epochs that are due by the next look or before, and not known
// to be purged, or not written down although this warden's log owes them. Those that
// were a window ago are forgotten, unless it does.
func (w *Warden) dueSoon(now time.Time) []*Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []*Status
	for epoch, s := range w.epochs {
		switch {
		case (!s.Purged || s.account.owed && !s.account.recorded && !s.seen) && !s.Deadline.After(now.Add(2*standByEvery)):
			due = append(due, s)
		case s.Purged && !s.account.owed && now.Sub(s.Deadline) > s.Deadline.Sub(epoch.StartTime()):
			delete(w.epochs, epoch)
		}
	}
	slices.SortFunc(due, func(a, b *Status) int { return a.Deadline.Compare(b.Deadline) })
	return due
}

func (w *Warden) standByFor(ctx context.Context, s *Status, now time.Time, advanced func() error) error {
	deadline := w.look(s).Deadline
	if deadline.After(now) { // its receipt may have to name its keys
		keys, err := w.d.Keyring.Public(ctx, s.Epoch)
		if err == nil {
			w.saw(s.Epoch, keys)
		}
		if errors.Is(err, keyring.ErrNoKey) {
			err = nil
		}
		return err
	}
	answering, holding := w.d.Keyring.Holding(ctx, s.Epoch)
	switch {
	case answering == w.d.Keyring.Nodes() && holding == 0:
		w.mu.Lock()
		s.Purged, s.seen, s.Nodes, s.Lag = true, true, 0, 0
		s.account.verified = time.Now()
		w.mu.Unlock()
		w.d.Forget(s.Epoch)
		if w.d.Receipts == nil || !w.d.Receipts.Had(s.Epoch) {
			return nil
		}
		// What its own log owes no other warden can write: it sees it through.
	case now.Sub(deadline) <= w.config.Lease:
		return nil // the active warden's, for now
	}
	if err := w.purge(ctx, s, advanced); err != nil {
		return err
	}
	return w.record(ctx, s)
}
