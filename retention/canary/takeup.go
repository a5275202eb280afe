package canary

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/store"
)

// turnEvery is how often a process looks whether sending has become its turn.
const turnEvery = time.Second

// takeTurns takes up what is under way each time that this process becomes active.
func (c *Canaries) takeTurns(ctx context.Context, wait *sync.WaitGroup) {
	for before := false; ; {
		now := c.active()
		if now && !before {
			c.takeUp(ctx, wait)
		}
		before = now
		if !sleep(ctx, turnEvery) {
			return
		}
	}
}

// takeUp follows the canaries that the IP log has of living epochs, the oldest first.
// It is in no hurry: half of the time it leaves to others. What was sent and is not
// stored yet it can't know, nor what is dead and was not tried yet.
func (c *Canaries) takeUp(ctx context.Context, wait *sync.WaitGroup) {
	began, taken := time.Now(), 0
	for i := range c.d.Policies {
		p := &c.d.Policies[i]
		for _, epoch := range p.Live(began) {
			for _, e := range c.underWay(ctx, p, epoch) {
				if c.start(wait, e.Account, func() { c.resume(ctx, p, e) }) {
					taken++
				}
			}
			if ctx.Err() != nil {
				return
			}
		}
	}
	if taken > 0 {
		c.d.Logger.Info("canaries of another process, or an earlier one, are taken up", zap.Int("canaries", taken))
	}
}

// underWay are the canaries of an epoch; it asks again until it is told, or there is
// nothing left to ask for.
func (c *Canaries) underWay(ctx context.Context, p *retention.Policy, epoch retention.Epoch) []Event {
	for time.Now().Before(epoch.Deadline(p.Window)) {
		asked := time.Now()
		events, err := c.find(ctx, p, epoch)
		if err == nil {
			sleep(ctx, time.Since(asked))
			return events
		}
		if ctx.Err() == nil {
			c.d.Logger.Warn("canaries under way could not be looked for; trying again", zap.Stringer("epoch", epoch), zap.Error(err))
		}
		if !sleep(ctx, retryAfter) {
			break
		}
	}
	return nil
}

func (c *Canaries) find(ctx context.Context, p *retention.Policy, epoch retention.Epoch) ([]Event, error) {
	var events []Event
	for _, prefix := range c.d.Key.form.Ranges {
		answer, err := c.d.Log.Find(ctx, store.Query{
			Prefix: prefix, From: epoch.StartTime(), To: epoch.EndTime().Add(-time.Millisecond), Policies: []string{p.Name},
		})
		if err != nil {
			return nil, err
		}
		for i := range answer.Records {
			if r := &answer.Records[i]; c.d.Key.Is(r) {
				events = append(events, Event{
					Connection: Connection{r.Account, r.Address, r.Ports.First}, Time: time.UnixMilli(r.Time),
				})
			}
		}
	}
	return events, nil
}

// resume follows a canary that another process has sent. How soon it was found nobody
// knows any more; that it is, is seen now.
func (c *Canaries) resume(ctx context.Context, p *retention.Policy, e Event) {
	h := hold(p, e)
	if c.isFound(ctx, h) {
		h.found = time.Since(e.Time)
	}
	c.await(ctx, h)
}
