package process

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention"
)

func TestEveryDeadlineIsFollowedWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		policies := retention.Policies{
			{Name: "a", Window: time.Minute, Epoch: 20 * time.Second}, {Name: "b", Window: 7 * time.Second, Epoch: 7 * time.Second},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan time.Time, 100)
		go func() { _ = atDeadlines(ctx, policies, func() { done <- time.Now() }) }()
		due := policies.NextDeadline(time.Now())
		time.Sleep(5 * time.Minute)
		cancel()
		synctest.Wait()
		close(done)
		n := 0
		for at := range done {
			if after := at.Sub(due); after < settled || after > 2*settled {
				t.Fatalf("call %d comes %v after its deadline", n, after)
			}
			n++
			for at.Sub(due) >= settled {
				due = policies.NextDeadline(due)
			}
		}
		if n < 50 {
			t.Errorf("%d calls in five minutes", n)
		}
	})
}
