package store_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// keeping removes no frame.
type keeping struct{ store.Store }

func (keeping) Remove(context.Context, seal.Place, store.Head, map[seal.WriterID]uint64) (int, error) {
	return 0, nil
}

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

// promoted fails over whenever a generation was flipped: the new master has everything
// as it was before the flip, which the old one had acknowledged.
type promoted struct {
	store.Store
	client *redis.Client
	times  int
}

func (p *promoted) Flip(ctx context.Context, claim store.Claim, head []byte, names []string) error {
	type entry struct {
		dump string
		at   time.Duration
	}
	before := map[string]entry{}
	for _, name := range p.client.Keys(ctx, "mayfly:*").Val() {
		before[name] = entry{p.client.Dump(ctx, name).Val(), p.client.PExpireTime(ctx, name).Val()}
	}
	if err := p.Store.Flip(ctx, claim, head, names); err != nil {
		return err
	}
	p.times++
	for name, e := range before {
		if err := p.client.Do(ctx, "RESTORE", name, e.at.Milliseconds(), e.dump, "REPLACE", "ABSTTL").Err(); err != nil {
			return err
		}
	}
	return nil
}

// A failover between a flip and what follows it: nothing that the lost generation
// was to replace goes.
func TestAFlipThatAFailoverTookBackRemovesNothing(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	y := newSystem(t, store.NewRedis(client))
	y.mint(t)
	first, batches := y.events(1, 500)
	y.write(t, batches)
	y.mustCompact(t)
	late, batches := y.events(2, 500)
	y.mint(t)
	y.write(t, batches)
	p := &promoted{Store: y.store, client: client}
	_, _ = y.compact(y.compactor(p))
	if p.times == 0 {
		t.Fatal("nothing was flipped")
	}
	y.check(t, append(first, late...), true)
}

// losing acknowledges frames that a failover then loses.
type losing struct {
	store.Store
	lose bool
}

func (s *losing) Append(ctx context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error {
	if s.lose && len(frames) > 0 {
		frames = nil
	}
	return s.Store.Append(ctx, deadline, frames, manifest)
}

// After a failover what was lost is read and stored again: the old claim on it is
// withdrawn, and answers are complete again. What was committed stays claimed.
func TestAFailoverIsMadeGood(t *testing.T) {
	t.Parallel()
	for name, committed := range map[string]bool{"of what was not committed": true, "of what nobody reads again": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				redis := &losing{Store: store.NewMemory()}
				y := newSystem(t, redis)
				y.mint(t)
				before, batches := y.events(1, 200)
				y.write(t, batches)
				y.writer.Settle(time.Now())
				time.Sleep(10 * time.Millisecond)

				redis.lose = true
				after, batches := y.events(2, 200)
				_, sealed := y.sealed(t, 3, 100, 1000)
				again := slices.Concat(clone(batches), sealed)
				y.write(t, slices.Concat(batches, sealed))
				if !committed {
					y.writer.Settle(time.Now())
				}
				redis.lose = false
				if a, err := y.reader.Find(t.Context(), all); err != nil || a.Complete {
					t.Fatal("nothing is lost", err)
				}

				y.writer.Disown()
				y.write(t, again)
				if a, err := y.reader.Find(t.Context(), all); err != nil || a.Complete {
					t.Fatal("the claim is gone before it was withdrawn", err)
				}
				if err := y.writer.Withdraw(t.Context()); err != nil {
					t.Fatal(err)
				}
				a, err := y.reader.Find(t.Context(), store.Query{Account: before[0].Account})
				if err != nil || a.Complete != committed || y.writer.Disowned() {
					t.Fatalf("complete %v after the loss %s (%v)", a.Complete, name, err)
				}
				found := map[record.ID]int{}
				for _, r := range a.Records {
					found[r.ID]++
				}
				for _, r := range after {
					if r.Account == before[0].Account && found[r.ID] != 1 {
						t.Fatalf("an event is found %d times", found[r.ID])
					}
				}
			})
		})
	}
}

func clone(batches []store.Batch) []store.Batch {
	copied := slices.Clone(batches)
	for i := range copied {
		copied[i].Records = slices.Clone(copied[i].Records)
	}
	return copied
}
