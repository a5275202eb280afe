package keyring

import (
	"context"
	"sync"
	"time"
)

// Lease is who is the active warden, by most of the nodes that answer; "" where
// they do not agree. With two nodes one may be away, so a majority of all is not
// asked for. It needs no fencing: it only keeps wardens from doing the same thing
// twice. Each of their steps is atomic at a node and does no harm twice, so two
// active ones, in a partition, are as right as one.
type Lease struct {
	Holder string
	Left   time.Duration // at the node that keeps it longest
}

// Lease asks for the lease, or with a span of 0 gives it back. It fails only when
// no node answers.
func (k *Keyring) Lease(ctx context.Context, by string, span time.Duration) (Lease, error) {
	var mu sync.Mutex // guards what follows
	lease, answers, votes := Lease{}, 0, map[string]int{}
	err := k.onAny(ctx, func(ctx context.Context, _ int, n Node) (bool, error) {
		holder, left, err := n.Lease(ctx, by, span)
		if err != nil {
			return false, err
		}
		mu.Lock()
		defer mu.Unlock()
		answers++
		votes[holder]++
		lease.Left = max(lease.Left, left)
		return true, nil
	})
	if err != nil {
		return Lease{}, err
	}
	mu.Lock()
	defer mu.Unlock()
	for holder, n := range votes {
		if 2*n > answers {
			lease.Holder = holder
		}
	}
	return lease, nil
}
