package store_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
	"mayfly/retention/store/storetest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory() })
}

func TestMiniredis(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		server := miniredis.NewMiniRedis()
		server.ClockTTL(true)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		return store.NewRedis(client)
	})
}

func TestRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	database := 0
	clients := make(chan *redis.Client, 16)
	for ; database < cap(clients); database++ {
		client := redis.NewClient(&redis.Options{Addr: server.Addr, DB: database})
		t.Cleanup(func() { _ = client.Close() })
		clients <- client
	}
	storetest.Run(t, func(*testing.T) store.Store { return store.NewRedis(<-clients) })
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	_, client := redistest.StartCluster(t, 3, false)
	storetest.Run(t, func(*testing.T) store.Store { return store.NewRedis(client) })
}

// TestNoInstantWithoutExpiry watches every command that the server executes:
// after each one that writes, the key has an expiry, and none removes one.
func TestNoInstantWithoutExpiry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := redistest.Start(t)
	client := server.Client(t)
	s := store.NewRedis(client)
	policy := retention.Policy{Name: "p", Window: time.Hour}
	key := storetest.Key(t, policy.EpochAt(time.Now()), policy.Window, 8)
	w := storetest.Writer(t, key)

	monitor := server.Monitor(t)
	if err := s.Open(ctx, key); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		var frames []seal.Frame
		for shard := range key.Shards {
			frames = append(frames, w.Seal(seal.ByAddress, shard, []byte("rows")))
		}
		if err := s.Append(ctx, key.Deadline, frames, w.Seal(seal.Manifest, 0, nil)); err != nil {
			t.Fatal(err)
		}
	}
	client.Echo(ctx, "done")
	scripted := 0
	for monitor.Scan() {
		line := monitor.Text()
		command := strings.ToLower(line)
		if strings.Contains(command, `"echo" "done"`) {
			break
		}
		for _, extends := range []string{`"persist"`, `"expire"`, `"pexpire"`, `"set"`, `"rename"`} {
			if strings.Contains(command, extends) {
				t.Errorf("a command that can clear or extend an expiry: %s", line)
			}
		}
		// A write that can create a key happens only inside a script, next to its PEXPIREAT.
		if (strings.Contains(command, `"rpush"`) || strings.Contains(command, `"hset"`)) && !strings.Contains(command, " lua]") {
			t.Errorf("a write that can create a key without expiry: %s", line)
		}
		if strings.Contains(command, " lua]") {
			scripted++
		}
	}
	if scripted != 2*(int(key.Shards)+1+3) {
		t.Errorf("%d commands inside scripts, want %d", scripted, 2*(int(key.Shards)+1+3))
	}
	for _, name := range client.Keys(ctx, "*").Val() {
		if at := client.PExpireTime(ctx, name).Val(); at.Milliseconds() != key.Deadline.UnixMilli() {
			t.Errorf("%s expires at %v, want %v", name, at, key.Deadline)
		}
	}
}
