package store_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/store"
)

// TestColdKeysHaveTheirExpiryAndGo watches what compaction writes, then shortens and unlinks it.
func TestColdKeysHaveTheirExpiryAndGo(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := redistest.Start(t)
	client := server.Client(t)
	s := store.NewRedis(client)
	y := newSystem(t, s)
	y.mint(t)
	_, batches := y.events(1, 3000)
	y.write(t, batches)
	monitor := server.Monitor(t)
	y.mustCompact(t)
	client.Echo(ctx, "done")
	scripted := 0
	for monitor.Scan() {
		line := monitor.Text()
		command := strings.ToLower(line)
		if strings.Contains(command, `"echo" "done"`) {
			break
		}
		for _, writes := range []string{`"hset"`, `"set"`, `"rpush"`, `"persist"`, `"expire"`, `"rename"`} {
			if strings.Contains(command, writes) && !strings.Contains(command, " lua]") {
				t.Errorf("a write without its expiry: %.80s", line)
			}
		}
		if strings.Contains(command, `lua] "pexpireat"`) {
			scripted++
			if !strings.HasSuffix(command, `"lt"`) {
				t.Errorf("an expiry that can extend: %s", line)
			}
		}
	}
	if scripted == 0 {
		t.Fatal("nothing was watched")
	}
	epoch := batches[0].Epoch
	keys, err := y.ring.Public(ctx, epoch)
	if err != nil {
		t.Fatal(err)
	}
	names := client.Keys(ctx, "mayfly:{"+epoch.String()+"/*}/cold").Val()
	if len(names) != 2 {
		t.Fatalf("%d buckets of one epoch, want one for each view", len(names))
	}
	for _, name := range names {
		if at := client.PExpireTime(ctx, name).Val(); at.Milliseconds() != keys[0].Deadline.UnixMilli() {
			t.Errorf("%s expires at %v, want %v", name, at, keys[0].Deadline)
		}
	}
	sooner := keys[0].Deadline.Add(-time.Second)
	if err := s.Shorten(ctx, keys[0], sooner); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if at := client.PExpireTime(ctx, name).Val(); at.Milliseconds() != sooner.UnixMilli() {
			t.Errorf("%s expires at %v after its window was shortened to %v", name, at, sooner)
		}
	}
	if err := s.Unlink(ctx, epoch, keys); err != nil {
		t.Fatal(err)
	}
	if left := client.Keys(ctx, "mayfly:{"+epoch.String()+"*").Val(); len(left) > 0 {
		t.Errorf("%d keys are left of an unlinked epoch: %v", len(left), left)
	}
}

// TestRedisLearnsNoOrder: the names of blocks and the order of writing them say
// nothing about the order of addresses.
func TestRedisLearnsNoOrder(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory()
	var order []string
	y := newHour(t, &watching{Store: memory, put: func(blocks []store.Block) {
		for _, b := range blocks {
			order = append(order, b.Name)
		}
		if !slices.IsSortedFunc(blocks, func(a, b store.Block) int { return strings.Compare(a.Name, b.Name) }) {
			t.Error("blocks are written in another order than that of their names")
		}
	}})
	y.writeAll(t, 10, 4000)
	y.mustCompact(t)
	if slices.Sort(order); len(order) < 6 || len(slices.Compact(order)) != len(order) {
		t.Fatalf("%d names", len(order))
	}
}

type watching struct {
	store.Store
	put func([]store.Block)
}

func (w *watching) Put(ctx context.Context, claim store.Claim, blocks []store.Block) error {
	w.put(blocks)
	return w.Store.Put(ctx, claim, blocks)
}
