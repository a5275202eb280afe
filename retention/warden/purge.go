package warden

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/retention/secret"
)

// purgeDue purges every epoch whose deadline has come.
func (w *Warden) purgeDue(ctx context.Context, now time.Time) error {
	due := w.due(now)
	if len(due) == 0 {
		return nil
	}
	advanced := w.advance()
	var g errgroup.Group
	g.SetLimit(8)
	for _, s := range due {
		g.Go(func() error {
			if seen := w.look(s); !seen.Purged || seen.seen {
				if err := w.purge(ctx, s, advanced); err != nil {
					return fmt.Errorf("purging epoch %v: %w", s.Epoch, err)
				}
			}
			return w.record(ctx, s)
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
		case (!s.Purged || s.seen || w.d.Receipts != nil && !s.account.recorded) && !s.Deadline.After(now):
			due = append(due, s)
		case s.Purged && now.Sub(s.Deadline) > s.Deadline.Sub(epoch.StartTime()):
			delete(w.epochs, epoch) // listed for a window after its purge
		}
	}
	return due
}

// advance moves the key-encryption key on, once for all epochs that are due.
func (w *Warden) advance() (advanced func() error) {
	return w.advancing.start(func() error {
		defer secret.Collect()
		return w.d.KEK.Advance(time.Now())
	})
}

// purge ends an epoch: key-encryption key, keys on every node, caches, chunks;
// then it verifies.
func (w *Warden) purge(ctx context.Context, s *Status, advanced func() error) error {
	window := w.look(s).Deadline.Sub(s.Epoch.StartTime())
	if keys, err := w.d.Keyring.Public(ctx, s.Epoch); err == nil {
		w.saw(s.Epoch, keys)
	}
	destroyed := w.d.Keyring.Destroy(ctx, s.Epoch, max(window, markLife))
	w.d.Forget(s.Epoch)
	secret.Collect() // what minting and this process's caches have dropped
	unlinked := w.d.Store.Unlink(ctx, s.Epoch, w.look(s).keys)
	if err := errors.Join(advanced(), destroyed, unlinked); err != nil {
		return err
	}
	if answering, holding := w.d.Keyring.Holding(ctx, s.Epoch); answering < w.d.Keyring.Nodes() || holding > 0 {
		return fmt.Errorf("%d of %d keyring nodes answer, %d still hold it", answering, w.d.Keyring.Nodes(), holding)
	}
	verified := time.Now()
	lag := verified.Sub(w.look(s).Deadline)
	w.mu.Lock()
	if s.seen { // seen through: its keys were gone when that was seen
		s.seen = false
		w.mu.Unlock()
		return nil
	}
	s.Purged, s.Lag, s.Nodes = true, lag, 0
	s.account.verified = verified
	w.mu.Unlock()
	w.metrics.lag.Observe(lag.Seconds())
	w.d.Log.Info("epoch purged", zap.Stringer("epoch", s.Epoch), zap.Duration("lag", lag))
	return nil
}
