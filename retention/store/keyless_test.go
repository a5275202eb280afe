package store_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/store"
)

// counted counts what a node is asked.
type counted struct {
	*keyring.MemoryNode
	asked atomic.Int64
}

func (c *counted) Fetch(ctx context.Context, epoch retention.Epoch, part keyring.Part) (map[string][]byte, error) {
	c.asked.Add(1)
	return c.MemoryNode.Fetch(ctx, epoch, part)
}

func (c *counted) Lives(ctx context.Context, epochs ...retention.Epoch) (time.Time, []keyring.Life, error) {
	c.asked.Add(1)
	return c.MemoryNode.Lives(ctx, epochs...)
}

// On a service's first day most epochs have no key: a look-up asks once for all of them, and
// tells those that were purged from those whose key is lost.
func TestEpochsWithoutAKeyAreAskedForTogether(t *testing.T) {
	t.Parallel()
	node := &counted{MemoryNode: keyring.NewMemoryNode("a")}
	y := newSystem(t, store.NewMemory())
	var err error
	if y.ring, err = keyring.New(node); err != nil {
		t.Fatal(err)
	}
	y.reader = store.NewReader(retention.Policies{y.policy}, keyring.NewOpener(y.ring, y.kek, zap.NewNop()), y.store)
	until := y.policy.EpochAt(time.Now()).StartTime().Add(-time.Millisecond)
	complete := func() bool {
		t.Helper()
		node.asked.Store(0)
		answer, err := y.reader.Find(t.Context(), store.Query{Account: "user", To: until})
		if err != nil {
			t.Fatal(err)
		}
		if n := node.asked.Load(); n > 2 {
			t.Errorf("a node is asked %d times for epochs that have no key", n)
		}
		return answer.Complete
	}
	if complete() {
		t.Error("keys that nobody has look like innocence")
	}
	for _, epoch := range y.policy.Live(time.Now()) {
		if epoch.StartTime().Before(until) {
			if err := y.ring.Destroy(t.Context(), epoch, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !complete() {
		t.Error("what was purged looks like a loss")
	}
}
