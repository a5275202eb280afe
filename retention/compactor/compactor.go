// Package compactor moves epochs that are over from the hot tier into the cold
// one: sooner or later every event takes 10 to 12 bytes of Redis instead of 35. It
// is the role's clock; the work on one unit is retention/store's. Only cmd imports it.
//
// The invariant: a look-up can't tell whether a compactor runs, has died, or was
// never started, but by its cost. Several may run side by side: units are claimed
// with a short lease, and whoever comes second goes on to the next.
//
// An epoch is compacted once writers have had their grace after its end. What comes
// later stays hot and merges at 4, 16, 64, … times that grace, so that an epoch
// into which events trickle all day is rewritten a few times and not each minute.
package compactor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/secret"
	"mayfly/retention/store"
)

// Units is what a compactor works on.
type Units interface {
	// Units lists the units of an epoch, and tells the epoch's states apart.
	Units(ctx context.Context, epoch retention.Epoch) ([]store.Unit, string, error)
	// Compact brings a unit's acknowledged frames into its generation.
	Compact(ctx context.Context, unit store.Unit) (store.Compacted, error)
}

// Dependencies are what a Compactor is given.
type Dependencies struct {
	Policies   retention.Policies
	Units      Units
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Compactor compacts epochs as they come due.
type Compactor struct {
	config  Config
	d       Dependencies
	metrics *metrics
	epochs  map[retention.Epoch]*progress

	mu      sync.Mutex // guards trouble
	trouble error      // of the last round
}

// progress is how far an epoch has come.
type progress struct {
	merges int       // complete ones
	next   time.Time // when to look at it again
	state  string    // after the last complete merge
}

// New checks the configuration and connects to nothing.
func New(config Config, d Dependencies) (*Compactor, error) {
	if err := errors.Join(config.Validate(), d.Policies.Validate()); err != nil {
		return nil, err
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return &Compactor{config: config, d: d, metrics: m, epochs: map[retention.Epoch]*progress{}}, nil
}

// Run compacts until ctx ends.
func (c *Compactor) Run(ctx context.Context) error {
	secret.GrowStack()
	for ctx.Err() == nil {
		err := c.round(ctx)
		if ctx.Err() == nil {
			c.mu.Lock()
			c.trouble = err
			c.mu.Unlock()
			if err != nil {
				c.d.Log.Warn("an epoch stays hot for now", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(c.config.Every):
		}
	}
	return nil
}

// Ready says what was wrong with the last round.
func (c *Compactor) Ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble
}

// round looks at every epoch that is due, the oldest first.
func (c *Compactor) round(ctx context.Context) error {
	var errs []error
	living := map[retention.Epoch]bool{}
	lag := time.Duration(0)
	for i := range c.d.Policies {
		p := &c.d.Policies[i]
		if p.Window < c.config.MinWindow {
			continue
		}
		for _, epoch := range p.Live(time.Now()) {
			living[epoch] = true
			due := epoch.EndTime().Add(c.config.Grace)
			if time.Now().Before(due) || ctx.Err() != nil {
				continue
			}
			at := c.epochs[epoch]
			if at == nil {
				at = &progress{next: due}
				c.epochs[epoch] = at
			}
			if time.Now().Before(at.next) {
				continue
			}
			if err := c.epoch(ctx, epoch, at); err != nil {
				errs = append(errs, fmt.Errorf("compacting epoch %v: %w", epoch, err))
			}
			if at.merges == 0 {
				lag = max(lag, time.Since(due))
			}
		}
	}
	for epoch := range c.epochs {
		if !living[epoch] {
			delete(c.epochs, epoch)
		}
	}
	c.metrics.lag.Set(lag.Seconds())
	return errors.Join(errs...)
}

// epoch compacts the units of an epoch. Compactors that start together take them in
// different orders, so that they seldom meet.
func (c *Compactor) epoch(ctx context.Context, epoch retention.Epoch, at *progress) error {
	units, state, err := c.d.Units.Units(ctx, epoch)
	if err != nil {
		c.metrics.failed(err)
		return err
	}
	if state != at.state || at.merges == 0 {
		rand.Shuffle(len(units), func(i, j int) { units[i], units[j] = units[j], units[i] }) //nolint:gosec // an order, no secret
		if finished, err := c.units(ctx, epoch, units); err != nil || !finished {
			return err
		}
	}
	at.state = state
	for at.merges == 0 || !time.Now().Before(at.next) {
		at.merges++
		at.next = epoch.EndTime().Add(c.config.Grace << min(2*at.merges, 40))
	}
	return nil
}

// units reports whether all of them are done; else another compactor is at some.
func (c *Compactor) units(ctx context.Context, epoch retention.Epoch, units []store.Unit) (finished bool, err error) {
	var errs []error
	finished = true
	var total store.Compacted
	for _, u := range units {
		done, err := c.d.Units.Compact(ctx, u)
		secret.WipeStack()
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.Is(err, store.ErrClaimed):
			finished = false
		case errors.Is(err, keyring.ErrDestroyed): // its deadline came first
		case err != nil:
			c.metrics.failed(err)
			errs = append(errs, err)
		default:
			c.metrics.done(u, done)
			total.Rows += done.Rows
			total.BytesIn += done.BytesIn
			total.BytesOut += done.BytesOut
		}
	}
	if total.Rows > 0 {
		c.d.Log.Info("epoch compacted", zap.Stringer("epoch", epoch), zap.Int("units", len(units)),
			zap.Int("bytes_in", total.BytesIn), zap.Int("bytes_out", total.BytesOut))
	}
	if len(errs) > 0 {
		return false, fmt.Errorf("%d of %d units: %w", len(errs), len(units), errs[0])
	}
	return finished, nil
}
