package pipeline

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces the attempts of something that must succeed in the end: 10 ms,
// doubling to 5 s, with half of it at random so that processes do not march in step.
type backoff struct {
	attempts int
	since    time.Time
	said     time.Time
}

const (
	firstWait   = 10 * time.Millisecond
	longestWait = 5 * time.Second
	sayEvery    = 30 * time.Second
	patience    = 2 * time.Second
)

// next is how long to wait before another attempt.
func (b *backoff) next() time.Duration {
	d := longestWait
	if b.attempts < 9 {
		d = firstWait << b.attempts
	}
	b.attempts++
	return d/2 + rand.N(d/2)
}

func (b *backoff) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(b.next()):
		return true
	}
}

// worthSaying is true at the first failure and every 30 s from then; where a
// wait is expected, only after two seconds of it.
func (b *backoff) worthSaying(now time.Time, expected bool) bool {
	if b.since.IsZero() {
		b.since = now
	}
	if expected && now.Sub(b.since) < patience || !b.said.IsZero() && now.Sub(b.said) < sayEvery {
		return false
	}
	b.said = now
	return true
}
