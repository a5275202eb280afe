package keyring

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/skew"
)

// askEvery is how often the nodes are asked what still lives, and so how long a
// cache may not know that a deadline was brought forward.
const askEvery = 5 * time.Second

// watch asks the nodes about all that is in the cache, and compares clocks.
func (o *Opener) watch(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		o.mu.Lock()
		epochs := make([]retention.Epoch, 0, len(o.cache))
		for epoch := range o.cache {
			epochs = append(epochs, epoch)
		}
		o.mu.Unlock()
		o.ask(ctx, epochs...)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask brings what the nodes say into the cache. What they have lost stays open,
// until the end that is known; what they have purged does not.
func (o *Opener) ask(ctx context.Context, epochs ...retention.Epoch) {
	asked := o.boot()
	lives, err := o.ring.Lives(ctx, epochs...)
	if err != nil {
		return // each key ends by itself
	}
	o.compare(lives.Ahead)
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, epoch := range epochs {
		entry, life := o.cache[epoch], lives.Epochs[i]
		switch {
		case entry == nil:
			continue
		case life.Purged && !life.Held:
			o.drop(epoch)
			continue
		case life.Held:
			entry.life.shorten(asked + life.Remaining)
		}
		entry.asked = asked
	}
}

// compare judges our clock by those of the nodes: where most of them differ from it
// by more than the skew, ours is the one that is wrong.
func (o *Opener) compare(ahead map[string]time.Duration) {
	off := 0
	o.mu.Lock()
	for node, by := range ahead {
		if by.Abs() > o.skew {
			off++
		}
		if o.metrics != nil {
			o.metrics.WithLabelValues("keyring " + node).Set(by.Seconds())
		}
	}
	before := o.apart
	o.apart = 2*off > len(ahead)
	now := o.apart
	o.mu.Unlock()
	if now && !before {
		o.log.Error("this machine's clock differs from the keyring's: no look-up is complete until it is set right",
			zap.Duration("skew", o.skew), zap.Int("nodes", off))
	}
}

// InTime is false while this machine's clock is known to be wrong: living epochs
// may be taken for dead.
func (o *Opener) InTime() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.apart
}

// Watch says how far clocks may differ, and registers a gauge of how far the nodes'
// do. It comes before Run.
func (o *Opener) Watch(most time.Duration, r prometheus.Registerer) error {
	o.skew = most
	var err error
	o.metrics, err = skew.Gauge(r)
	return err
}
