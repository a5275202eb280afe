package warden_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts/receiptstest"
	"mayfly/retention/tally"
)

// The receipt of a purge says what the epoch had just before its deadline.
func TestReceiptsSayWhatAnEpochHad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var living atomic.Int64 // counts are taken of what lives
		p, log := written(t, dir, func(p *post) {
			p.tally = func(_ context.Context, e retention.Epoch) (tally.Sum, error) {
				left := time.Until(e.Deadline(policy.Window))
				if left <= 0 {
					return tally.Sum{}, errors.New("it is gone")
				}
				sum := tally.Sum{Counts: tally.Counts{Stored: 1, Rejected: 2}}
				if left <= 250*time.Millisecond { // all has come by then
					living.Add(1)
					sum.Stored = 7
				}
				sum.Topics = []tally.Topic{{Name: "connections", Partitions: []tally.Partition{{Ranges: []tally.Range{{From: e.Start, Next: e.Start + 2000}}}}}}
				return sum, nil
			}
		})
		r := p.outlive(t, dir, log)
		got := r.Policies[0]
		if got.Purged < 28 || got.Uncounted != 0 || got.Stored != 7*got.Purged || got.Rejected != 2*got.Purged {
			t.Errorf("%+v", got)
		}
		if living.Load() > got.Purged+1 {
			t.Errorf("%d counts for %d purges", living.Load(), got.Purged)
		}
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Missing() != 0 {
			t.Errorf("%+v", r.Topics)
		}
	})
}

// A purge waits for no count: where it fails or hangs, the receipt says that there is none.
func TestNoPurgeWaitsForItsCount(t *testing.T) {
	t.Parallel()
	for name, count := range map[string]func(context.Context) error{
		"fails": func(context.Context) error { return errors.New("connection refused") },
		"hangs": func(ctx context.Context) error {
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
			return errors.New("no answer")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var away atomic.Bool
				p, log := written(t, dir, func(p *post) {
					p.tally = func(ctx context.Context, e retention.Epoch) (tally.Sum, error) {
						if away.Load() && time.Until(e.Deadline(policy.Window)) < time.Second || time.Until(e.EndTime()) > 0 {
							return tally.Sum{}, count(ctx)
						}
						return tally.Sum{}, errors.New("not yet")
					}
				})
				away.Store(true)
				r := p.outlive(t, dir, log)
				if got := r.Policies[0]; got.Purged < 28 || got.Uncounted != got.Purged || got.Late != 0 || got.Lag.Worst > 10 {
					t.Errorf("%+v", got)
				}
				if text := receiptstest.Text(t, dir); strings.Contains(text, `"stored"`) || strings.Contains(text, `"topics"`) {
					t.Error("a receipt says what nobody has counted")
				}
			})
		})
	}
}
