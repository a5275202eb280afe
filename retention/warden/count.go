package warden

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"mayfly/retention"
	"mayfly/retention/tally"
)

// What an epoch had goes into the receipt of its purge. It has to be read while the
// epoch lives: at the deadline its manifests go by themselves, like the keys that open
// them. So each epoch is counted shortly before. The purge knows nothing of this and
// waits for nothing: without a count, the receipt says that there is none.

// Shortly before: what comes later is not in the receipt, which says when that was.
const (
	countLead  = 250 * time.Millisecond
	countRetry = 50 * time.Millisecond
	countLook  = 500 * time.Millisecond // how often to look for epochs, at least
)

// keepCounting counts each epoch before it is due, until ctx ends.
func (w *Warden) keepCounting(ctx context.Context) error {
	if w.d.Receipts == nil {
		return nil
	}
	for ctx.Err() == nil {
		ending, next := w.ending(time.Now())
		var g errgroup.Group
		g.SetLimit(8)
		for _, s := range ending {
			g.Go(func() error { w.countLast(ctx, s); return nil })
		}
		_ = g.Wait()
		sleep(ctx, time.Until(next))
	}
	return nil
}

// ending lists the epochs that are to be counted now, and when to look again.
func (w *Warden) ending(now time.Time) (ending []*Status, next time.Time) {
	next = now.Add(countLook)
	w.mu.Lock()
	defer w.mu.Unlock()
	for epoch, s := range w.epochs {
		if s.Purged || s.account.final || !s.Deadline.After(now) {
			continue
		}
		// Of a short window an eighth.
		from := s.Deadline.Add(-min(countLead, s.Deadline.Sub(epoch.StartTime())/8))
		switch {
		case !from.After(now):
			ending = append(ending, s)
			next = now.Add(countRetry)
		case from.Before(next):
			next = from
		}
	}
	return ending, next
}

// countLast counts an epoch for the last time, if that can be done before its deadline.
func (w *Warden) countLast(ctx context.Context, s *Status) {
	ctx, cancel := context.WithDeadline(ctx, w.look(s).Deadline)
	defer cancel()
	if _, err := w.count(ctx, s.Epoch); err != nil {
		return // ending lists it again
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.account.final = true
}

// count notes what an epoch has.
func (w *Warden) count(ctx context.Context, epoch retention.Epoch) (tally.Sum, error) {
	now := time.Now() // what is stored while it is read may be missing
	sum, err := w.d.Tally(ctx, epoch)
	if err != nil {
		return sum, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.epochs[epoch]; s != nil {
		s.account.sum, s.account.counted = sum, now
	}
	return sum, nil
}
