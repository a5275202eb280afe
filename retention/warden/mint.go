package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mayfly/retention"
	"mayfly/retention/keyring"
)

// mintPresent gives the epochs that have just begun their keys.
func (w *Warden) mintPresent(ctx context.Context, now time.Time) error {
	var errs []error
	for i := range w.d.Policies {
		p := &w.d.Policies[i]
		epoch := p.EpochAt(now)
		if err := w.enroll(ctx, now); err != nil {
			errs = append(errs, err)
			continue
		}
		deadline, living := w.term(epoch, p.Window, now)
		if !living {
			continue
		}
		s := w.status(epoch, deadline)
		if !w.minted(s.Epoch) {
			errs = append(errs, w.mint(ctx, s, now))
		}
	}
	return errors.Join(errs...)
}

// mintLiving sees to it that every living epoch has a key on every node, the
// latest first.
func (w *Warden) mintLiving(ctx context.Context, now time.Time) error {
	if err := w.enroll(ctx, now); err != nil {
		return err
	}
	var g errgroup.Group
	g.SetLimit(8)
	for i := range w.d.Policies {
		p := &w.d.Policies[i]
		for _, epoch := range slices.Backward(p.Live(now)) {
			deadline, living := w.term(epoch, p.Window, now)
			if !living {
				continue
			}
			s := w.status(epoch, deadline)
			g.Go(func() error { return w.mint(ctx, s, now) })
		}
	}
	return g.Wait()
}

// mint sees to the key of one living epoch.
func (w *Warden) mint(ctx context.Context, s *Status, now time.Time) error {
	epoch, deadline := s.Epoch, w.look(s).Deadline
	keys, err := w.d.Keyring.MintKnowing(ctx, epoch, deadline, w.d.KEK,
		func() bool { return w.had(epoch) },
		func() uint32 { return w.shards(ctx, epoch) },
		func(key keyring.Public) error {
			if err := w.announce(ctx, s, key); err != nil {
				return err
			}
			return w.d.Store.Open(ctx, key)
		})
	err = w.published(s, err)
	switch {
	case err != nil && !deadline.After(time.Now()):
		return nil // it came due between two looks at the clock: its purge is next
	case errors.Is(err, keyring.ErrNotBegun):
		return nil // by the nodes' clocks: the next round is soon
	case err != nil:
		return fmt.Errorf("minting epoch %v: %w", epoch, err)
	}
	w.saw(epoch, keys)
	if err := w.shorten(ctx, epoch, deadline, keys); err != nil {
		return fmt.Errorf("shortening epoch %v: %w", epoch, err)
	}
	_, holding := w.d.Keyring.Holding(ctx, epoch)
	w.mu.Lock()
	defer w.mu.Unlock()
	s.repaired, s.Nodes = now, holding
	return nil
}

// shorten brings forward what lives too long since a window was shortened: what is
// stored first, as the keys say until when that was to live.
func (w *Warden) shorten(ctx context.Context, epoch retention.Epoch, deadline time.Time, keys []keyring.Public) error {
	late := false
	for _, key := range keys {
		if !deadline.Before(key.Deadline) {
			continue
		}
		late = true
		if err := w.d.Store.Shorten(ctx, key, deadline); err != nil {
			return err
		}
	}
	if !late {
		return nil
	}
	return w.d.Keyring.Shorten(ctx, epoch, deadline, w.d.KEK)
}

// shards lays a new key out after the epoch before, or by the setting.
func (w *Warden) shards(ctx context.Context, epoch retention.Epoch) uint32 {
	epoch.Start -= epoch.Length
	sum, err := w.count(ctx, epoch)
	if err != nil {
		return w.config.Shards
	}
	return Shards(uint64(sum.Stored)) //nolint:gosec // not negative
}

// recordsPerShard keeps a look-up's share of an epoch small.
const recordsPerShard = 100_000

// Shards is how many shards each view of an epoch has that follows one of so many records.
func Shards(records uint64) uint32 {
	return uint32(min(records/recordsPerShard+1, 1<<13))
}

func (w *Warden) minted(epoch retention.Epoch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.epochs[epoch]
	return s != nil && !s.repaired.IsZero()
}
