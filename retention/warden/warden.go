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
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/retention"
	"mayfly/retention/keyring"
)

// Store is what the warden needs of the IP log.
type Store interface {
	Open(ctx context.Context, key keyring.Public) error
	// Unlink returns nil only when nothing of the epoch is left.
	Unlink(ctx context.Context, epoch retention.Epoch, keys []keyring.Public) error
}

// Dependencies are what a Warden is given.
type Dependencies struct {
	Policies retention.Policies
	Keyring  *keyring.Keyring
	KEK      keyring.KEK
	Store    Store
	// Records tells how many records an epoch has, to lay out the next one.
	Records func(ctx context.Context, epoch retention.Epoch) (uint64, error)
	// Forget drops an epoch's keys from this process's caches.
	Forget     func(epoch retention.Epoch)
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Warden is one enforcer. Several may run side by side: every step is atomic at
// the keyring's nodes.
type Warden struct {
	config  Config
	d       Dependencies
	metrics *metrics

	mu      sync.Mutex // guards epochs and trouble
	epochs  map[retention.Epoch]*Status
	trouble error
}

// Status is what the warden knows of an epoch.
type Status struct {
	Epoch    retention.Epoch
	Deadline time.Time
	Nodes    int           // keyring nodes that hold a key of it, when last looked at
	Purged   bool          // verified
	Lag      time.Duration // from the deadline to the verified purge
	repaired time.Time
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
	return &Warden{config: config, d: d, metrics: m, epochs: map[retention.Epoch]*Status{}}, nil
}

// repairEvery is how often a living epoch's key is brought to keyring nodes that
// lack it.
const repairEvery = 10 * time.Second

// Run enforces until ctx ends.
func (w *Warden) Run(ctx context.Context) error {
	var adopted time.Time
	for {
		now := time.Now()
		if now.Sub(adopted) >= repairEvery {
			w.adopt(ctx, now)
			adopted = now
		}
		purged := w.purgeDue(ctx, now)
		minted := w.mintLiving(ctx, now)
		w.settle(now, errors.Join(purged, minted))
		timer := time.NewTimer(time.Until(w.next(now, purged != nil || minted != nil)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// adopt takes charge of epochs that have a key although the policies do not name
// them: of a policy that was removed or changed, or due while no warden ran.
func (w *Warden) adopt(ctx context.Context, now time.Time) {
	epochs, err := w.d.Keyring.Epochs(ctx)
	if err != nil {
		return // what has a key expires by itself; the next round lists it
	}
	for _, epoch := range epochs {
		if w.knows(epoch) {
			continue
		}
		if keys, err := w.d.Keyring.Public(ctx, epoch); err == nil {
			s := w.status(epoch, keys[0].Deadline)
			s.repaired = now
		}
	}
}

func (w *Warden) knows(epoch retention.Epoch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epochs[epoch] != nil
}

func (w *Warden) status(epoch retention.Epoch, deadline time.Time) *Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.epochs[epoch]
	if s == nil {
		s = &Status{Epoch: epoch, Deadline: deadline}
		w.epochs[epoch] = s
	}
	return s
}

// mintLiving sees to it that every living epoch has a key on every node.
func (w *Warden) mintLiving(ctx context.Context, now time.Time) error {
	var g errgroup.Group
	g.SetLimit(8)
	for i := range w.d.Policies {
		p := &w.d.Policies[i]
		for _, epoch := range p.Live(now) {
			s := w.status(epoch, epoch.Deadline(p.Window))
			if now.Sub(s.repaired) < repairEvery {
				continue
			}
			g.Go(func() error {
				if err := w.mint(ctx, epoch, s.Deadline); err != nil {
					return fmt.Errorf("minting epoch %v: %w", epoch, err)
				}
				_, holding := w.d.Keyring.Holding(ctx, epoch)
				w.mu.Lock()
				defer w.mu.Unlock()
				s.repaired, s.Nodes = now, holding
				return nil
			})
		}
	}
	return g.Wait()
}

func (w *Warden) mint(ctx context.Context, epoch retention.Epoch, deadline time.Time) error {
	before := epoch
	before.Start -= epoch.Length
	records, err := w.d.Records(ctx, before)
	shards := w.config.Shards
	if err == nil {
		shards = shardsFor(records)
	}
	err = w.d.Keyring.Mint(ctx, epoch, deadline, shards, w.d.KEK, func(key keyring.Public) error {
		return w.d.Store.Open(ctx, key)
	})
	if errors.Is(err, keyring.ErrDestroyed) {
		return nil // by another warden, or between two looks at the clock
	}
	return err
}

// recordsPerShard keeps a look-up's share of an epoch small.
const recordsPerShard = 200_000

func shardsFor(records uint64) uint32 {
	return uint32(min(records/recordsPerShard+1, 1<<13))
}

// purgeDue purges every epoch whose deadline has come.
func (w *Warden) purgeDue(ctx context.Context, now time.Time) error {
	var g errgroup.Group
	g.SetLimit(8)
	for _, s := range w.due(now) {
		g.Go(func() error {
			if err := w.purge(ctx, s); err != nil {
				return fmt.Errorf("purging epoch %v: %w", s.Epoch, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (w *Warden) due(now time.Time) []*Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []*Status
	for epoch, s := range w.epochs {
		switch {
		case !s.Purged && !s.Deadline.After(now):
			due = append(due, s)
		case s.Purged && now.Sub(s.Deadline) > s.Deadline.Sub(epoch.StartTime()):
			delete(w.epochs, epoch) // listed for a window after its purge
		}
	}
	return due
}

// purge ends an epoch: key-encryption key, keys on every node, caches, chunks;
// then it verifies.
func (w *Warden) purge(ctx context.Context, s *Status) error {
	window := s.Deadline.Sub(s.Epoch.StartTime())
	advanced := w.d.KEK.Advance(time.Now()) // its failure must not spare the rest
	keys, _ := w.d.Keyring.Public(ctx, s.Epoch)
	destroyed := w.d.Keyring.Destroy(ctx, s.Epoch, window)
	w.d.Forget(s.Epoch)
	unlinked := w.d.Store.Unlink(ctx, s.Epoch, keys)
	if err := errors.Join(advanced, destroyed, unlinked); err != nil {
		return err
	}
	if answering, holding := w.d.Keyring.Holding(ctx, s.Epoch); answering < w.d.Keyring.Nodes() || holding > 0 {
		return fmt.Errorf("%d of %d keyring nodes answer, %d still hold it", answering, w.d.Keyring.Nodes(), holding)
	}
	lag := time.Since(s.Deadline)
	w.mu.Lock()
	s.Purged, s.Lag, s.Nodes = true, lag, 0
	w.mu.Unlock()
	w.metrics.lag.Observe(lag.Seconds())
	w.d.Log.Info("epoch purged", zap.Stringer("epoch", s.Epoch), zap.Duration("lag", lag))
	return nil
}

// next is when there is something to do again.
func (w *Warden) next(now time.Time, failed bool) time.Time {
	if failed {
		return now.Add(w.config.Retry)
	}
	next := now.Add(time.Second)
	for i := range w.d.Policies {
		if end := w.d.Policies[i].EpochAt(now).EndTime(); end.Before(next) {
			next = end
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
