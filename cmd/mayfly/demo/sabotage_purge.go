package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/keyring"
)

// skipPurge is a warden that lies: it keeps the key of one epoch, takes its
// expiry away, and logs it as destroyed.
func skipPurge() *sabotage {
	keeper := &keeper{}
	return &sabotage{
		does: "the warden keeps the key of one epoch, without its expiry, and logs it as destroyed",
		node: func(n keyring.Node) keyring.Node { return &lyingNode{Node: n, keeper: keeper} },
		during: func(ctx context.Context, d *demo) error {
			keeper.begin(d.epochs.nodes)
			return nil
		},
	}
}

// keeper chooses the epoch to keep: the first that begins after it knows the servers.
type keeper struct {
	mu      sync.Mutex // guards what follows
	servers []*redis.Client
	since   int64
	epoch   retention.Epoch
	gone    bool // as the warden has it
}

func (k *keeper) begin(servers []*redis.Client) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.servers, k.since = servers, time.Now().UnixMilli()
}

// keeps reports whether an epoch is the one.
func (k *keeper) keeps(epoch retention.Epoch) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.epoch == (retention.Epoch{}) && k.servers != nil && epoch.Start >= k.since {
		k.epoch = epoch
	}
	return k.epoch == epoch
}

// hide lets the epoch look destroyed from now on.
func (k *keeper) hide() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
}

func (k *keeper) hides(epoch retention.Epoch) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gone && k.epoch == epoch
}

// persist takes the expiry of the epoch's keys away.
func (k *keeper) persist(ctx context.Context, epoch retention.Epoch) error {
	for _, server := range k.servers {
		for _, name := range keyNames(epoch) {
			if err := server.Persist(ctx, name).Err(); err != nil {
				return fmt.Errorf("persisting: %w", err)
			}
		}
	}
	return nil
}

// lyingNode says of one epoch that it is destroyed, and keeps it.
type lyingNode struct {
	keyring.Node
	keeper *keeper
}

// Publish publishes, and takes the expiry away again.
func (n *lyingNode) Publish(ctx context.Context, epoch retention.Epoch, deadline time.Time, fields keyring.Contents) error {
	err := n.Node.Publish(ctx, epoch, deadline, fields)
	if err == nil && n.keeper.keeps(epoch) {
		return n.keeper.persist(ctx, epoch)
	}
	return err
}

// Destroy does nothing to the epoch that is kept.
func (n *lyingNode) Destroy(ctx context.Context, epoch retention.Epoch, keepMark time.Duration) error {
	if n.keeper.keeps(epoch) {
		n.keeper.hide()
		return nil
	}
	return n.Node.Destroy(ctx, epoch, keepMark)
}

// Fetch finds nothing of it from then on.
func (n *lyingNode) Fetch(ctx context.Context, epoch retention.Epoch, part keyring.Part) (map[string][]byte, error) {
	if n.keeper.hides(epoch) {
		return map[string][]byte{}, nil
	}
	return n.Node.Fetch(ctx, epoch, part)
}
