package keyring

import (
	"context"
	"time"

	"mayfly/retention"
)

// Lives is what the nodes together say of some epochs.
type Lives struct {
	// Epochs are in the order in which they were asked for: held where any node
	// holds them, for as long as the first one says, and purged where any says so.
	Epochs []Life
	// Ahead is how far the clock of each node that answers is ahead of ours.
	Ahead map[string]time.Duration
}

// Lives asks all nodes. It fails only when none answers.
func (k *Keyring) Lives(ctx context.Context, epochs ...retention.Epoch) (Lives, error) {
	answers, ahead := make([][]Life, len(k.nodes)), make([]time.Duration, len(k.nodes))
	err := k.onAny(ctx, func(ctx context.Context, i int, n Node) (bool, error) {
		asked := time.Now()
		now, lives, err := n.Lives(ctx, epochs...)
		if answers[i] = lives; err == nil {
			ahead[i] = now.Sub(asked.Add(time.Since(asked) / 2)) // a slow answer is no wrong clock
		}
		return true, err
	})
	if err != nil {
		return Lives{}, err
	}
	all := Lives{Epochs: make([]Life, len(epochs)), Ahead: map[string]time.Duration{}}
	for n, lives := range answers {
		if lives == nil && len(epochs) > 0 {
			continue
		}
		all.Ahead[k.nodes[n].Name()] = ahead[n]
		for i, life := range lives {
			all.Epochs[i].add(life)
		}
	}
	return all, nil
}

func (l *Life) add(other Life) {
	l.Purged = l.Purged || other.Purged
	if other.Held && (!l.Held || other.Remaining < l.Remaining) {
		l.Held, l.Remaining = true, other.Remaining
	}
}

// Purged reports whether any node that answers says that the epoch was purged. A
// living epoch may be: by a warden whose window for it is shorter, and for good.
func (k *Keyring) Purged(ctx context.Context, epoch retention.Epoch) bool {
	lives, err := k.Lives(ctx, epoch)
	return err == nil && lives.Epochs[0].Purged
}
