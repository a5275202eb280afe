package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/keyring"
)

// skipPurge is a warden that lies: it keeps the key of one epoch beyond its expiry,
// and logs it as destroyed. Taking the expiry away would not do: the sweep gives each
// key its own back.
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
	gone    bool                // as the warden has it
	copies  []map[string]string // by server: its keys of the epoch
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

// copyKeys copies the epoch's keys from every server, as they are now.
func (k *keeper) copyKeys(ctx context.Context, epoch retention.Epoch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	copies := make([]map[string]string, len(k.servers))
	for i, server := range k.servers {
		copies[i] = map[string]string{}
		for _, name := range keyNames(epoch) {
			switch dump, err := server.Dump(ctx, name).Result(); {
			case err == nil:
				copies[i][name] = dump
			case !errors.Is(err, redis.Nil):
				return fmt.Errorf("copying a key: %w", err)
			}
		}
	}
	k.copies = copies
	return nil
}

// putBack puts the copies where the keys were, to stay.
func (k *keeper) putBack(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, server := range k.servers {
		for name, dump := range k.copies[i] {
			if err := server.RestoreReplace(ctx, name, 0, dump).Err(); err != nil {
				return fmt.Errorf("putting a key back: %w", err)
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

// Publish publishes, and copies what is to be kept.
func (n *lyingNode) Publish(ctx context.Context, epoch retention.Epoch, deadline time.Time, fields keyring.Contents) error {
	err := n.Node.Publish(ctx, epoch, deadline, fields)
	if err == nil && n.keeper.keeps(epoch) {
		return n.keeper.copyKeys(ctx, epoch)
	}
	return err
}

// Destroy keeps the one epoch.
func (n *lyingNode) Destroy(ctx context.Context, epoch retention.Epoch, keepMark time.Duration) error {
	if n.keeper.keeps(epoch) {
		n.keeper.hide()
		return n.keeper.putBack(ctx)
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
