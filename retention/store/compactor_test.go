package store_test

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// compactor makes a compactor of the system that works on s.
func (y *system) compactor(s store.Store) *store.Compactor {
	return store.NewCompactor(store.NewReader(retention.Policies{y.policy}, y.opener, s))
}

// narrow is a compactor with next to no memory.
func (y *system) narrow(s store.Store) *store.Compactor {
	c := y.compactor(s)
	c.Narrow()
	return c
}

// compact brings all living epochs into generations and gives the first error.
func (y *system) compact(c *store.Compactor) (rows int, err error) {
	ctx := context.Background()
	for _, epoch := range y.policy.Live(time.Now()) {
		units, _, failed := c.Units(ctx, epoch)
		err = errors.Join(err, failed)
		for _, u := range units {
			done, failed := c.Compact(ctx, u)
			err = errors.Join(err, failed)
			rows += done.Rows
		}
	}
	return rows, err
}

func (y *system) mustCompact(t *testing.T) int {
	t.Helper()
	rows, err := y.compact(y.compactor(y.store))
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// fragile fails the calls of a compactor, applied or not.
type fragile struct {
	store.Store
	draw *rand.Rand
	rate int // one of so many calls
}

var errFragile = errors.New("the connection broke")

func (f *fragile) breaks(do func() error) error {
	switch f.draw.IntN(2 * f.rate) {
	case 0:
		return errFragile
	case 1:
		_ = do()
		return errFragile
	}
	return do()
}

func (f *fragile) Chunks(ctx context.Context, places []seal.Place) (chunks []store.Chunk, err error) {
	err = f.breaks(func() (err error) { chunks, err = f.Store.Chunks(ctx, places); return err })
	return chunks, err
}

func (f *fragile) Blocks(ctx context.Context, refs []store.BlockRef) (blocks [][]byte, err error) {
	err = f.breaks(func() (err error) { blocks, err = f.Store.Blocks(ctx, refs); return err })
	return blocks, err
}

func (f *fragile) Claim(ctx context.Context, p seal.Place, deadline time.Time, owner string) (claim store.Claim, err error) {
	err = f.breaks(func() (err error) { claim, err = f.Store.Claim(ctx, p, deadline, owner); return err })
	return claim, err
}

func (f *fragile) Put(ctx context.Context, claim store.Claim, blocks []store.Block) error {
	if f.draw.IntN(f.rate) == 0 { // some of them
		_ = f.Store.Put(ctx, claim, blocks[:len(blocks)/2])
		return errFragile
	}
	return f.breaks(func() error { return f.Store.Put(ctx, claim, blocks) })
}

func (f *fragile) Flip(ctx context.Context, claim store.Claim, head []byte, names []string) error {
	return f.breaks(func() error { return f.Store.Flip(ctx, claim, head, names) })
}

func (f *fragile) Tidy(ctx context.Context, p seal.Place, current store.Head) error {
	return f.breaks(func() error { return f.Store.Tidy(ctx, p, current) })
}

func (f *fragile) Frames(ctx context.Context, p seal.Place, from, n int) (chunk store.Chunk, err error) {
	err = f.breaks(func() (err error) { chunk, err = f.Store.Frames(ctx, p, from, n); return err })
	return chunk, err
}

func (f *fragile) Remove(ctx context.Context, p seal.Place, current store.Head, covered map[seal.WriterID]uint64) (left int, err error) {
	if f.draw.IntN(f.rate) == 0 {
		some := maps.Clone(covered)
		for writer := range some {
			some[writer] /= 2
		}
		_, _ = f.Store.Remove(ctx, p, current, some)
		return 0, errFragile
	}
	err = f.breaks(func() (err error) { left, err = f.Store.Remove(ctx, p, current, covered); return err })
	return left, err
}

// stores opens each implementation.
var stores = map[string]func(*testing.T) store.Store{
	"memory": func(*testing.T) store.Store { return store.NewMemory() },
	"miniredis": func(t *testing.T) store.Store {
		server := miniredis.RunT(t)
		server.ClockTTL(true)
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		t.Cleanup(func() { _ = client.Close() })
		return store.NewRedis(client)
	},
	"redis": func(t *testing.T) store.Store { return store.NewRedis(redistest.Start(t).Client(t)) },
	"cluster": func(t *testing.T) store.Store {
		_, client := redistest.StartCluster(t, 3, false)
		return store.NewRedis(client)
	},
}

// TestCompactionChangesNoAnswer interleaves writes, replays, and compactions that
// break off anywhere, in any order; every answer is what was written, and complete.
func TestCompactionChangesNoAnswer(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rounds, seeds := 12, uint64(2)
			if name == "memory" {
				seeds = 10
			}
			for seed := range seeds {
				y := newSystem(t, open(t))
				draw := rand.New(rand.NewPCG(seed, 3))
				broken := y.compactor(&fragile{Store: y.store, draw: draw, rate: 6})
				other := y.compactor(y.store)
				if seed%2 == 1 {
					broken, other = y.narrow(&fragile{Store: y.store, draw: draw, rate: 6}), y.narrow(y.store)
				}
				var written []record.Record
				var arrived []store.Batch // sealed at the edge
				for round := range rounds {
					y.mint(t)
					switch draw.IntN(6) {
					case 0, 1:
						records, batches := y.events(seed<<8+uint64(round), 50+draw.IntN(150))
						y.write(t, batches)
						written = append(written, records...)
					case 2: // Kafka delivers some again, to another process, in other batches
						y.writer = store.NewWriter(y.ring, y.store)
						for _, r := range written[len(written)/2:] {
							if r.ID.Topic == edgeTopic {
								continue
							}
							epoch := y.policy.EpochAt(time.UnixMilli(r.Time))
							y.write(t, []store.Batch{{Epoch: epoch, Deadline: epoch.Deadline(y.policy.Window), Records: []record.Record{r}}})
						}
					case 3:
						for range 3 {
							_, _ = y.compact(broken)
						}
					case 4: // what was sealed at the edge, some of it once more
						records, batches := y.sealed(t, seed<<8+uint64(round), 50+draw.IntN(50), int64(round)*1000)
						y.write(t, slices.Concat(batches, arrived))
						written = append(written, records...)
						arrived = batches
					default:
						// What broke off is claimed for a while; the answers are right all the same.
						_, err := y.compact(other)
						if err != nil && !errors.Is(err, store.ErrClaimed) {
							t.Fatal(err)
						}
					}
					y.check(t, written, true)
				}
			}
		})
	}
}

// TestCompactedRecordsLeaveTheHotTier also takes a second generation.
func TestCompactedRecordsLeaveTheHotTier(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	server := redistest.Start(t)
	client := server.Client(t)
	y := newSystem(t, store.NewRedis(client))
	y.mint(t)
	var written []record.Record
	for seed := range uint64(2) {
		records, batches := y.events(seed, 2000)
		y.mint(t)
		y.write(t, batches)
		written = append(written, records...)
		if rows := y.mustCompact(t); rows != 2*len(records) { // in two views
			t.Fatalf("%d rows compacted, want %d", rows, 2*len(records))
		}
		for _, name := range client.Keys(ctx, "*").Val() {
			if client.Type(ctx, name).Val() == "list" {
				t.Fatalf("%s still has %d frames", name, client.LLen(ctx, name).Val())
			}
		}
		y.check(t, written, true)
	}
	if rows := y.mustCompact(t); rows != 0 {
		t.Fatalf("%d rows compacted once more", rows)
	}
	generations := map[string]string{}
	for _, name := range client.Keys(ctx, "*}/cold").Val() {
		for _, field := range client.HKeys(ctx, name).Val() {
			parts := strings.Split(field, "/")
			if parts[0] != "b" {
				continue
			}
			place := name + parts[1]
			if other := generations[place]; other != "" && other != parts[2] {
				t.Errorf("%s has blocks of generations %s and %s", place, other, parts[2])
			}
			generations[place] = parts[2]
		}
	}
}

// Who looks whether anything remains of an epoch also sees what was compacted.
func TestGenerationsAreRemains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		memory := store.NewMemory()
		y := newSystem(t, memory)
		y.mint(t)
		_, batches := y.events(1, 300)
		y.write(t, batches)
		units, _, err := y.compactor(memory).Units(ctx, batches[0].Epoch)
		if err != nil || len(units) == 0 {
			t.Fatal(err)
		}
		places := []seal.Place{units[0].Place}
		none, err := y.reader.Remains(ctx, batches[0].Epoch, nil)
		if err != nil {
			t.Fatal(err)
		}
		y.mustCompact(t)
		if n, err := y.reader.Remains(ctx, batches[0].Epoch, places); err != nil || n != none+1 {
			t.Fatalf("%d remains beside the directory's, want the generation; %v", n-none, err)
		}
	})
}

func TestALostBlockIsNoInnocence(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(m *store.Memory, p seal.Place){
		"blocks":     func(m *store.Memory, p seal.Place) { m.DropBlocks(p) },
		"generation": func(m *store.Memory, p seal.Place) { m.DropCold(p) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				memory := store.NewMemory()
				y := newSystem(t, memory)
				y.mint(t)
				written, batches := y.events(1, 500)
				y.write(t, batches)
				account := batches[0].Records[0].Account
				y.mustCompact(t)
				y.check(t, written, true)
				keys, _ := y.ring.Public(context.Background(), batches[0].Epoch)
				for _, view := range seal.Views {
					for shard := range keys[0].Shards {
						lose(memory, seal.Place{Epoch: batches[0].Epoch, Key: keys[0].ID, View: view, Shard: shard})
					}
				}
				for _, q := range []store.Query{{Prefix: netip.MustParsePrefix("198.51.0.0/16")}, {Account: account}} {
					answer, err := y.reader.Find(context.Background(), q)
					if err != nil || answer.Complete {
						t.Errorf("the loss looks like innocence: complete %v, %v", answer.Complete, err)
					}
				}
				// Nor does a later compaction make it so.
				more, batches := y.events(2, 500)
				y.write(t, batches)
				_, _ = y.compact(y.compactor(memory))
				_ = more
				answer, err := y.reader.Find(context.Background(), all)
				if err != nil || answer.Complete {
					t.Errorf("a new generation hides the loss: complete %v, %v", answer.Complete, err)
				}
			})
		})
	}
}

// A frame that was acknowledged and is lost stays missing, whatever is compacted.
func TestALostFrameStaysMissing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		y := newSystem(t, memory)
		y.mint(t)
		for seed := range uint64(3) {
			_, batches := y.events(seed, 300)
			y.write(t, batches)
			if seed == 1 { // an eviction takes the first two batches
				for _, epoch := range y.policy.Live(time.Now()) {
					keys, _ := y.ring.Public(context.Background(), epoch)
					for shard := range keys[0].Shards {
						for _, view := range seal.Views {
							memory.Drop(seal.Place{Epoch: epoch, Key: keys[0].ID, View: view, Shard: shard})
						}
					}
				}
			}
		}
		y.mustCompact(t)
		for _, q := range []store.Query{all, {Account: "user7"}} {
			answer, err := y.reader.Find(context.Background(), q)
			if err != nil || answer.Complete {
				t.Errorf("the loss looks like innocence: complete %v, %v", answer.Complete, err)
			}
		}
	})
}

// slowFlip stops a compactor before its flip or its removal until it is let go.
type slowFlip struct {
	store.Store
	reached, letGo chan struct{}
	once           sync.Once
}

func (s *slowFlip) Flip(ctx context.Context, claim store.Claim, head []byte, names []string) error {
	s.once.Do(func() {
		close(s.reached)
		<-s.letGo
	})
	return s.Store.Flip(ctx, claim, head, names)
}

// A compactor that has slept through its lease, and through another's generation,
// changes nothing.
func TestALateCompactorIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.policy.Window = time.Hour
		y.policy.Epoch = 2 * time.Minute
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		y.mint(t)
		written, batches := y.events(1, 300)
		y.write(t, batches)
		sleeper := &slowFlip{Store: y.store, reached: make(chan struct{}), letGo: make(chan struct{})}
		failed := make(chan error)
		go func() {
			_, err := y.compact(y.compactor(sleeper))
			failed <- err
		}()
		<-sleeper.reached
		if _, err := y.compact(y.compactor(y.store)); !errors.Is(err, store.ErrClaimed) {
			t.Errorf("a unit is compacted by two at once: %v", err)
		}
		time.Sleep(31 * time.Second)
		y.mint(t)
		more, batches := y.events(2, 300)
		y.write(t, batches)
		written = append(written, more...)
		if _, err := y.compact(y.compactor(y.store)); err != nil {
			t.Errorf("a claim outlives its lease: %v", err)
		}
		y.check(t, written, true)
		close(sleeper.letGo)
		if err := <-failed; !errors.Is(err, store.ErrClaimed) {
			t.Errorf("a late flip: %v", err)
		}
		y.check(t, written, true)
	})
}

// With readers at work beside it, no answer lacks anything or has it twice.
func TestLookUpsDuringCompaction(t *testing.T) {
	t.Parallel()
	y := newSystem(t, store.NewRedis(redistest.Start(t).Client(t)))
	y.policy.Window, y.policy.Epoch = time.Hour, 10*time.Minute
	y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
	y.mint(t)
	var written []record.Record
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := y.compactor(y.store)
		for range 30 {
			_, err := y.compact(c)
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for seed := uint64(1); ; seed++ {
		records, batches := y.events(seed, 100)
		y.write(t, batches)
		written = append(written, records...)
		y.check(t, written, true)
		select {
		case <-done:
			return
		default:
		}
	}
}

func TestCompactionDiesWithItsEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		memory := store.NewMemory()
		y := newSystem(t, memory)
		y.mint(t)
		_, batches := y.events(1, 300)
		y.write(t, batches)
		c := y.compactor(y.store)
		units, _, err := c.Units(ctx, batches[0].Epoch)
		if err != nil || len(units) == 0 {
			t.Fatal(err)
		}
		time.Sleep(2 * y.policy.Window)
		for _, u := range units {
			if _, err := c.Compact(ctx, u); !errors.Is(err, keyring.ErrDestroyed) {
				t.Fatalf("compacted past the deadline: %v", err)
			}
			chunks, err := memory.Chunks(ctx, []seal.Place{u.Place})
			if err != nil || chunks[0].Head.Bytes != nil {
				t.Fatalf("a head past the deadline, %v", err)
			}
		}
		if units, _, err := c.Units(ctx, batches[0].Epoch); err != nil || len(units) != 0 {
			t.Fatalf("%d units of a dead epoch, %v", len(units), err)
		}
	})
}
