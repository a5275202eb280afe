package process

import (
	"context"
	"time"

	"mayfly/retention"
)

// settled is how long after a deadline the last part of a process has dropped what is due.
const settled = time.Second

// atDeadlines calls do after every deadline, until ctx ends. It asks the clock each second,
// as one that is set or a machine that was asleep moves deadlines.
func atDeadlines(ctx context.Context, policies retention.Policies, do func()) error {
	tick := time.NewTicker(settled)
	defer tick.Stop()
	next := policies.NextDeadline(time.Now())
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if now = now.Add(-settled); !now.Before(next) {
				next = policies.NextDeadline(now)
				do()
			}
		}
	}
}
