package store_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// keeping removes no frame.
type keeping struct{ store.Store }

func (keeping) Remove(context.Context, []seal.Frame) error { return nil }

// A failover takes back the last writes of one server. On another one the removal of
// frames would outlast the generation that they went into.
func TestAChunkAndItsGenerationAreOnOneServer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	_, client := redistest.StartCluster(t, 3, false)
	y := newSystem(t, store.NewRedis(client))
	y.mint(t)
	_, batches := y.events(1, 2000)
	y.write(t, batches)
	if _, err := y.compact(y.compactor(keeping{y.store})); err != nil {
		t.Fatal(err)
	}
	keys, err := y.ring.Public(ctx, batches[0].Epoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range seal.Views {
		slots, chunks, colds := map[int64]bool{}, 0, 0
		err := client.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
			for _, name := range master.Keys(ctx, "mayfly:{"+batches[0].Epoch.String()+"/"+keys[0].ID.String()+"/"+view.String()+"/*").Val() {
				slots[master.ClusterKeySlot(ctx, name).Val()] = true
				if master.Type(ctx, name).Val() == "list" {
					chunks++
				} else {
					colds++
				}
			}
			return nil
		})
		if err != nil || chunks == 0 || colds != 1 || len(slots) != 1 {
			t.Errorf("%v view: %d chunks and %d buckets lie in %d slots, %v", view, chunks, colds, len(slots), err)
		}
	}
}
