package keyring

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
)

// nodeTimeout bounds each command, so that a hung node delays but never blocks.
const nodeTimeout = 2 * time.Second

//go:embed publish.lua
var publishSource string

//go:embed publish_wrap.lua
var publishWrapSource string

//go:embed lease.lua
var leaseSource string

//go:embed destroy.lua
var destroySource string

var (
	publishScript     = redis.NewScript(publishSource)
	publishWrapScript = redis.NewScript(publishWrapSource)
	leaseScript       = redis.NewScript(leaseSource)
	destroyScript     = redis.NewScript(destroySource)
)

// RedisNode is a standalone Redis (or Valkey) 7.0 or newer.
type RedisNode struct {
	name   string
	client *redis.Client
}

// NewRedisNode names a client of a standalone server.
func NewRedisNode(name string, client *redis.Client) *RedisNode {
	return &RedisNode{name: name, client: client}
}

// Name implements Node.
func (n *RedisNode) Name() string { return n.name }

const partPrefix = "mayfly:key:"

func partKey(epoch retention.Epoch, part Part) string {
	return partPrefix + string(part) + ":" + epoch.String()
}

// markKey is of a policy and an epoch length: epochs of another length may begin
// before ones that are purged, and live on.
func markKey(epoch retention.Epoch) string {
	return "mayfly:key:mark:" + epoch.Policy + "+" + strconv.FormatInt(epoch.Length, 10)
}

func scriptKeys(epoch retention.Epoch) []string {
	return []string{
		partKey(epoch, partPublic), partKey(epoch, partPrivate), partKey(epoch, partWraps), markKey(epoch),
	}
}

// Publish implements Node.
func (n *RedisNode) Publish(ctx context.Context, epoch retention.Epoch, deadline time.Time, contents Contents) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	script, keys := publishScript, scriptKeys(epoch)
	args := []any{epoch.Start, deadline.UnixMilli()}
	if len(contents[partPublic]) == 0 {
		// A writer may not touch private keys, and only read public ones: who can write
		// those has others seal to its own. The keys that a script is called with must
		// be writable, so they are arguments, and a node is a standalone server.
		script, keys = publishWrapScript, []string{partKey(epoch, partWraps)}
		args = append(args, partKey(epoch, partPublic), markKey(epoch))
	}
	for i, part := range parts {
		for field, value := range contents[part] {
			args = append(args, i+1, field, value)
		}
	}
	answer, err := script.Run(ctx, n.client, keys, args...).Text()
	if err != nil {
		return fmt.Errorf("publishing epoch %v: %w", epoch, err)
	}
	switch answer {
	case "published":
		return nil
	case "destroyed":
		return ErrDestroyed
	case "not begun":
		return ErrNotBegun
	case "no key":
		return ErrNoKey
	}
	return fmt.Errorf("publishing epoch %v: unknown answer %q", epoch, answer)
}

// Fetch implements Node.
func (n *RedisNode) Fetch(ctx context.Context, epoch retention.Epoch, part Part) (map[string][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	texts, err := n.client.HGetAll(ctx, partKey(epoch, part)).Result()
	if err != nil {
		return nil, fmt.Errorf("fetching epoch %v: %w", epoch, err)
	}
	fields := make(map[string][]byte, len(texts))
	for field, value := range texts {
		fields[field] = []byte(value)
	}
	return fields, nil
}

// Lives implements Node.
func (n *RedisNode) Lives(ctx context.Context, epochs ...retention.Epoch) (time.Time, []Life, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	pipe := n.client.Pipeline()
	now := pipe.Time(ctx)
	expiries, marks := make([]*redis.DurationCmd, len(epochs)), make([]*redis.StringCmd, len(epochs))
	for i, epoch := range epochs {
		expiries[i] = pipe.PTTL(ctx, partKey(epoch, partPublic)) // all parts have one expiry
		marks[i] = pipe.Get(ctx, markKey(epoch))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return time.Time{}, nil, fmt.Errorf("asking how long %d epochs live: %w", len(epochs), err)
	}
	lives := make([]Life, len(epochs))
	for i, epoch := range epochs {
		const never, absent = -1, -2
		switch remaining := expiries[i].Val(); remaining {
		case absent:
		case never:
			lives[i] = Life{Held: true, Remaining: 1 << 62} // the present can be added to it
		default:
			lives[i] = Life{Held: true, Remaining: remaining}
		}
		mark, err := marks[i].Int64()
		lives[i].Purged = err == nil && epoch.Start <= mark
	}
	return now.Val(), lives, nil
}

// Lease implements Node.
func (n *RedisNode) Lease(ctx context.Context, by string, span time.Duration) (string, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	answer, err := leaseScript.Run(ctx, n.client, []string{"mayfly:key:lease"}, by, span.Milliseconds()).Slice()
	if err != nil {
		return "", 0, fmt.Errorf("asking for the lease: %w", err)
	}
	if len(answer) == 2 {
		holder, ok1 := answer[0].(string)
		left, ok2 := answer[1].(int64)
		if ok1 && ok2 {
			return holder, time.Duration(left) * time.Millisecond, nil
		}
	}
	return "", 0, errors.New("asking for the lease: unknown answer")
}

// Epochs implements Node. A keyring is small, some hundred keys, so a scan of it
// is cheap; nothing but this list depends on it.
func (n *RedisNode) Epochs(ctx context.Context) ([]retention.Epoch, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	prefix := partPrefix + string(partPublic) + ":"
	var epochs []retention.Epoch
	names := n.client.Scan(ctx, 0, prefix+"*", 1000).Iterator()
	for names.Next(ctx) {
		if epoch, err := retention.ParseEpoch(strings.TrimPrefix(names.Val(), prefix)); err == nil {
			epochs = append(epochs, epoch)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("listing epochs: %w", err)
	}
	return epochs, nil
}

// Destroy implements Node.
func (n *RedisNode) Destroy(ctx context.Context, epoch retention.Epoch, keepMark time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, nodeTimeout)
	defer cancel()
	return destroyScript.Run(ctx, n.client, scriptKeys(epoch), epoch.Start, keepMark.Milliseconds()).Err()
}
