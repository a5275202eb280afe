package store_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// hot counts the frames of all living epochs.
func (y *system) hot(t testing.TB) (frames int) {
	t.Helper()
	ctx := context.Background()
	for _, epoch := range y.policy.Live(time.Now()) {
		keys, err := y.ring.Public(ctx, epoch)
		if err != nil {
			continue
		}
		for _, place := range places(epoch, keys[0]) {
			chunks, err := y.store.Chunks(ctx, []seal.Place{place})
			if err != nil {
				t.Fatal(err)
			}
			frames += len(chunks[0].Frames)
		}
	}
	return frames
}

// places are those of a key in both views.
func places(epoch retention.Epoch, key keyring.Public) (all []seal.Place) {
	for _, view := range seal.Views {
		for shard := range key.Shards {
			all = append(all, seal.Place{Epoch: epoch, Key: key.ID, View: view, Shard: shard})
		}
	}
	return all
}

// copied are batches as somebody has copied them to later offsets.
func copied(batches []store.Batch, by int64) (copies []store.Batch) {
	for _, b := range batches {
		edge := *b.Edge
		edge.ID.Offset += by
		copies = append(copies, store.Batch{Epoch: b.Epoch, Deadline: b.Deadline, Edge: &edge})
	}
	return copies
}

// TestWhatWasSealedAtTheEdgeIsCompacted also has what comes late refer to wraps that are
// compacted, and copies that come late and count once.
func TestWhatWasSealedAtTheEdgeIsCompacted(t *testing.T) {
	t.Parallel()
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newHour(t, open(t))
			plain, batches := y.events(1, 200)
			edges := map[retention.Epoch]*store.Edge{}
			send := func(seed uint64, offset int64) (written []record.Record, arrived []store.Batch) {
				_, batches := y.events(seed, 100)
				for i, b := range batches {
					if edges[b.Epoch] == nil {
						edges[b.Epoch] = y.atEdge(t, b.Epoch)
					}
					id := record.ID{Topic: edgeTopic, Partition: 1, Offset: offset + int64(i)}
					arrived = append(arrived, y.arrived(t, edges[b.Epoch].Seal(nil, b.Records), id.Offset))
					for _, r := range b.Records {
						id.Index = uint32(r.ID.Offset)
						r.ID = id
						written = append(written, r)
					}
				}
				return written, arrived
			}
			sealed, arrived := send(2, 0)
			written := slices.Concat(plain, sealed)
			y.write(t, slices.Concat(batches, arrived))
			if rows := y.mustCompact(t); rows != 2*len(written) { // in two views
				t.Fatalf("%d rows compacted, want %d", rows, 2*len(written))
			}
			if frames := y.hot(t); frames > 0 {
				t.Fatalf("%d frames stay hot", frames)
			}
			y.check(t, written, true)

			more, late := send(3, 100) // of the same edge: the frames name its wrap
			written = append(written, more...)
			y.write(t, slices.Concat(late, copied(arrived, 10_000)))
			y.check(t, written, true)
			y.writer = store.NewWriter(y.ring, y.store) // another process knows no wrap
			y.write(t, copied(slices.Concat(arrived, late), 20_000))
			y.check(t, written, true)
			y.mustCompact(t)
			if frames := y.hot(t); frames > 0 {
				t.Fatalf("%d frames stay hot", frames)
			}
			y.check(t, written, true)
		})
	}
}

// What was never an event is counted as before, in each look-up, and hides nothing.
func TestWhatWasForgedIsCountedOnceItIsCompacted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		written, arrived := y.sealed(t, 1, 60, 500)
		_, others := y.sealed(t, 2, 60, 0)
		var forged []store.Batch
		for i, b := range arrived {
			for _, other := range others {
				if other.Epoch == b.Epoch {
					batch := other.Edge.Batch
					batch.Wrap = b.Edge.Wrap
					forged = append(forged, y.arrived(t, batch.Append(nil), int64(i))) // before the genuine one
				}
			}
		}
		y.write(t, slices.Concat(forged, arrived))
		refused := func() int {
			answer, err := y.reader.Find(t.Context(), all)
			if err != nil || !answer.Complete {
				t.Fatalf("complete %v, %v", answer.Complete, err)
			}
			return answer.Refused
		}
		before := refused()
		for range 2 {
			y.mustCompact(t)
			if y.hot(t) > 0 {
				t.Fatal("frames stay hot")
			}
			y.check(t, written, true)
			if after := refused(); before == 0 || after != before {
				t.Fatalf("%d refused, %d before they were compacted", after, before)
			}
			y.write(t, forged) // late
			before = refused()
		}
	})
}

// A lost block of wraps is a loss: what is hot may then be a repeat, or not.
func TestLostWrapsAreNoInnocence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		y := newSystem(t, memory)
		y.mint(t)
		_, arrived := y.sealed(t, 1, 100, 0)
		y.write(t, arrived)
		y.mustCompact(t)
		y.write(t, copied(arrived, 1000))
		for _, b := range arrived {
			keys, _ := y.ring.Public(t.Context(), b.Epoch)
			for _, place := range places(b.Epoch, keys[0]) {
				memory.DropBlocks(place)
			}
		}
		for _, q := range []store.Query{all, {Prefix: netip.MustParsePrefix("10.0.0.0/16")}, {Account: "nobody"}} {
			answer, err := y.reader.Find(t.Context(), q)
			if err != nil || answer.Complete || len(answer.Records) > 0 {
				t.Errorf("%d records, complete %v, %v", len(answer.Records), answer.Complete, err)
			}
		}
	})
}

// What a compactor that dies before its last step leaves, the next one removes.
func TestCoveredFramesAreRemovedLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		written, batches := y.events(1, 300)
		y.write(t, batches)
		if _, err := y.compact(y.compactor(keeping{y.store})); err != nil || y.hot(t) == 0 {
			t.Fatalf("%d frames are left, %v", y.hot(t), err)
		}
		if rows := y.mustCompact(t); rows > 0 || y.hot(t) > 0 {
			t.Fatalf("%d rows compacted once more, %d frames are left", rows, y.hot(t))
		}
		y.check(t, written, true)
	})
}

// vanishing loses sight of the first frame of each chunk after some reads, as if another
// compactor had removed it, and reports when it did.
type vanishing struct {
	store.Store
	after, reads int
}

func (v *vanishing) Frames(ctx context.Context, p seal.Place, from, n int) (store.Chunk, error) {
	if v.reads++; v.reads > v.after && v.reads <= v.after+5 {
		from++
	}
	return v.Store.Frames(ctx, p, from, n)
}

// stumbling fails one read of frames.
type stumbling struct {
	store.Store
	at, reads int
}

var errStumbled = errors.New("stumbled")

func (s *stumbling) Frames(ctx context.Context, p seal.Place, from, n int) (store.Chunk, error) {
	if s.reads++; s.reads == s.at {
		return store.Chunk{}, errStumbled
	}
	return s.Store.Frames(ctx, p, from, n)
}

// A compactor that gives up within a unit forgets it: what it noted of it is not known, and
// not left out, when it begins anew.
func TestAUnitThatFailedIsForgotten(t *testing.T) {
	t.Parallel()
	for at := 1; ; at++ {
		y := newHour(t, store.NewMemory())
		written := y.writeAll(t, 6, 30)
		c := y.compactor(&stumbling{Store: y.store, at: at})
		c.Slow()
		if _, err := y.compact(c); err == nil && at > 1 {
			break // it has read less often
		} else if !errors.Is(err, errStumbled) {
			t.Fatalf("read %d fails, and compaction says %v", at, err)
		}
		if where := c.Lingers(); len(where) > 0 {
			t.Fatalf("something is left in %v", where)
		}
		if _, err := y.compact(c); err != nil {
			t.Fatal(err)
		}
		y.check(t, written, true)
	}
}

// A shard that needs several parts is read several times; what is not there each time is
// not covered.
func TestAFrameThatVanishesBetweenPartsStaysHot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for after := range 40 {
			y := newHour(t, store.NewMemory())
			written := y.writeAll(t, 6, 30)
			if _, err := y.compact(y.narrow(&vanishing{Store: y.store, after: after})); err != nil {
				t.Fatal(err)
			}
			y.check(t, written, true)
			y.mustCompact(t)
			y.check(t, written, true)
			if frames := y.hot(t); frames > 0 {
				t.Fatalf("%d frames stay hot for ever", frames)
			}
		}
	})
}

// TestAShardOfAnySizeIsCompacted has a compactor with memory for few records, whose
// generation has many runs, and one with memory for all take turns.
func TestAShardOfAnySizeIsCompacted(t *testing.T) {
	t.Parallel()
	y := newHour(t, store.NewRedis(redistest.Start(t).Client(t)))
	var written []record.Record
	for seed := range uint64(4) {
		plain, batches := y.events(seed, 300)
		sealed, arrived := y.sealed(t, seed+10, 300, int64(seed)*1000)
		y.write(t, slices.Concat(batches, arrived))
		written = slices.Concat(written, plain, sealed)
		c := y.compactor(y.store)
		if seed != 2 {
			c = y.narrow(y.store)
		}
		if rows, err := y.compact(c); err != nil || rows != 2*(len(plain)+len(sealed)) {
			t.Fatalf("%d rows compacted, want %d; %v", rows, 2*(len(plain)+len(sealed)), err)
		}
		if where := c.Lingers(); len(where) > 0 {
			t.Fatalf("something is left in %v", where)
		}
		if frames := y.hot(t); frames > 0 {
			t.Fatalf("%d frames stay hot", frames)
		}
		y.check(t, written, true)
	}
}
