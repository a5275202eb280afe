package kafkain

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the time between attempts: it doubles up to a limit, and half of
// it is random, so that many members do not return to a broker at once.
type backoff struct {
	first, limit time.Duration
	attempts     int
}

func (t timing) newBackoff() backoff { return backoff{first: t.backoff, limit: t.backoffMax} }

func (b *backoff) next() time.Duration {
	wait := min(b.first<<min(b.attempts, 16), b.limit)
	b.attempts++
	return wait/2 + rand.N(wait/2+1)
}

func (b *backoff) reset() { b.attempts = 0 }

// sleep waits for the next attempt, or until ctx is done.
func (b *backoff) sleep(ctx context.Context) { pause(ctx, b.next()) }

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
