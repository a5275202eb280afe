// Package warden enforces the deadlines: it mints an epoch's key when the epoch
// begins, and at the deadline it destroys the key on every keyring node, unlinks
// the chunks, and verifies both. Without a warden nothing lives longer, because
// every key in Redis has its expiry from birth; but nothing new can be
// stored, and nobody has checked.
//
// The invariant: an epoch counts as purged only when every keyring node has
// answered that it holds nothing of it, and the store that nothing is left.
// A purge is idempotent and goes on until that is so.
package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/tally"
)

// Store is what the warden needs of the IP log.
type Store interface {
	Open(ctx context.Context, key keyring.Public) error
	// Unlink returns nil only when nothing of the epoch is left.
	Unlink(ctx context.Context, epoch retention.Epoch, keys []keyring.Public) error
	// Shorten brings the expiry of everything under key forward to deadline.
	Shorten(ctx context.Context, key keyring.Public, deadline time.Time) error
}

// Dependencies are what a Warden is given.
type Dependencies struct {
	Policies retention.Policies
	Keyring  *keyring.Keyring
	KEK      keyring.KEK
	Store    Store
	// Tally tells what a living epoch has: to lay out the next one, and for its receipt.
	Tally func(ctx context.Context, epoch retention.Epoch) (tally.Sum, error)
	// Forget drops an epoch's keys from this process's caches.
	Forget func(epoch retention.Epoch)
	// Receipts is where everything is written down; nil only where nobody audits.
	Receipts Receipts
	// Facts describe the purges of this process; nil: nothing is attested.
	Facts      func() receipts.Facts
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Warden is one enforcer. Several may run side by side: every step is atomic at
// the keyring's nodes.
type Warden struct {
	config  Config
	d       Dependencies
	metrics *metrics

	mu      sync.Mutex // guards what follows
	epochs  map[retention.Epoch]*Status
	active  bool      // this warden has the lease
	holder  string    // who has it
	adopted time.Time // when everything that has a key was last known
	trouble error     // of purging and minting
	lacking error     // of repairing; errStarting until every living epoch was seen to

	shown map[string]bool // policies whose oldest readable epoch has an age

	name string
	turn chan struct{} // it has become active

	advancing, minting beside // the purges

	enrolling sync.Mutex // guards enrolled: the policies are logged once
	enrolled  bool
}

// Status is what the warden knows of an epoch.
type Status struct {
	Epoch    retention.Epoch
	Deadline time.Time
	Nodes    int              // keyring nodes that hold a key of it, when last looked at
	Purged   bool             // verified
	seen     bool             // by another warden, as far as this one has seen; to be seen through if that one is gone
	Lag      time.Duration    // from the deadline to the verified purge
	keys     []keyring.Public // as last seen: at the deadline the keyring has forgotten them
	repaired time.Time
	account  account
}

// New checks the configuration and connects to nothing.
func New(config Config, d Dependencies) (*Warden, error) {
	if err := errors.Join(config.Validate(), d.Policies.Validate()); err != nil {
		return nil, err
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	for i := range d.Policies {
		m.window.WithLabelValues(d.Policies[i].Name).Set(d.Policies[i].Window.Seconds())
	}
	return &Warden{
		config: config, d: d, metrics: m, epochs: map[retention.Epoch]*Status{}, lacking: errStarting,
		shown: map[string]bool{}, name: newName(), turn: make(chan struct{}, 1),
	}, nil
}

// errStarting: the living epochs may have no key yet, and due ones are not purged.
var errStarting = errors.New("warden: the first round is under way")

// repairEvery is how often a living epoch's key is brought to keyring nodes that
// lack it.
const repairEvery = 10 * time.Second

// Run enforces until ctx ends. Purging and minting what has just begun never
// wait for the repair of older epochs.
func (w *Warden) Run(ctx context.Context) error {
	var g errgroup.Group
	defer w.minting.end()
	wait := w.hold(ctx)
	g.Go(func() error { return w.keepHolding(ctx, wait) })
	g.Go(func() error { return w.repair(ctx) })
	g.Go(func() error { return w.keepCounting(ctx) })
	for ctx.Err() == nil {
		now := time.Now()
		if !w.Active() {
			w.settle(now, w.standBy(ctx, now))
			w.pause(ctx, now.Add(standByEvery))
			continue
		}
		// Side by side: a purge that waits for a node keeps no new epoch waiting.
		minted := w.minting.start(func() error { return w.mintPresent(ctx, now) })
		orphans := w.collect(now)
		err := errors.Join(w.purgeDue(ctx, now), w.account(ctx, orphans, now))
		err = errors.Join(err, minted())
		w.settle(now, err)
		w.pause(ctx, w.next(now, err != nil))
	}
	return g.Wait()
}

// repair sees to it, every repairEvery, that every living epoch has its key on
// every node, and takes charge of epochs that the policies do not name.
func (w *Warden) repair(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		w.restore(ctx)
		w.adopt(ctx, now)
		wait := repairEvery
		if !w.Active() {
			wait = standByEvery
			_ = w.settleRepair(nil)
		} else if w.settleRepair(w.mintLiving(ctx, now)) != nil {
			wait = time.Second
		}
		sleep(ctx, wait)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// adopt takes charge of epochs that have a key although the policies do not name
// them: of a policy that was removed or changed, or due while no warden ran.
func (w *Warden) adopt(ctx context.Context, now time.Time) {
	epochs, err := w.d.Keyring.Epochs(ctx)
	if err != nil {
		return // what has a key expires by itself; the next round lists it
	}
	all := true
	for _, epoch := range epochs {
		keys, err := w.d.Keyring.Public(ctx, epoch)
		if err != nil {
			all = all && errors.Is(err, keyring.ErrNoKey)
			continue
		}
		w.status(epoch, w.deadline(epoch, keys[0].Deadline))
		w.saw(epoch, keys)
	}
	if all {
		w.mu.Lock()
		w.adopted = now
		w.mu.Unlock()
	}
}

// deadline is the earlier of an epoch's own and what its policy says now: a
// shortened window reaches what is stored, a lengthened one does not.
func (w *Warden) deadline(epoch retention.Epoch, own time.Time) time.Time {
	for i := range w.d.Policies {
		if p := &w.d.Policies[i]; p.Name == epoch.Policy && epoch.Deadline(p.Window).Before(own) {
			return epoch.Deadline(p.Window)
		}
	}
	return own
}

// status finds or makes the status of an epoch, whose deadline may come closer
// but never moves away.
func (w *Warden) status(epoch retention.Epoch, deadline time.Time) *Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.epochs[epoch]
	if s == nil {
		s = &Status{Epoch: epoch, Deadline: deadline}
		w.epochs[epoch] = s
	}
	if deadline.Before(s.Deadline) {
		s.Deadline = deadline
	}
	return s
}

// look copies a status as it is now.
func (w *Warden) look(s *Status) Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := *s
	seen.keys = slices.Clone(s.keys)
	return seen
}

// saw remembers the keys of an epoch, unless that was forgotten meanwhile: a key that
// took so long to announce is owed by the log.
func (w *Warden) saw(epoch retention.Epoch, keys []keyring.Public) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.epochs[epoch]
	if s == nil {
		return
	}
	for _, key := range keys {
		if !slices.ContainsFunc(s.keys, func(k keyring.Public) bool { return k.ID == key.ID }) {
			s.keys = append(s.keys, key)
		}
	}
}

// next is when there is something to do again.
func (w *Warden) next(now time.Time, failed bool) time.Time {
	if failed {
		return now.Add(w.config.Retry)
	}
	next := now.Add(time.Second)
	for i := range w.d.Policies {
		epoch := w.d.Policies[i].EpochAt(now)
		if epoch.EndTime().Before(next) {
			next = epoch.EndTime()
		}
		if !w.minted(epoch) {
			next = now.Add(w.config.Retry)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.epochs {
		if !s.Purged && s.Deadline.Before(next) {
			next = s.Deadline
		}
	}
	return next
}
