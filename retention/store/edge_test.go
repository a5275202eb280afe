package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// edgeTopic is the one from which sealed batches come.
var edgeTopic = [16]byte{9}

// atEdge gives an edge that seals to the newest key of an epoch.
func (y *system) atEdge(t testing.TB, epoch retention.Epoch) *store.Edge {
	t.Helper()
	keys, err := y.ring.Public(context.Background(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := store.NewEdge(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	return edge
}

// arrived is a message as ingest hands it on, read at an offset.
func (y *system) arrived(t testing.TB, message []byte, offset int64) store.Batch {
	t.Helper()
	batch, err := seal.ParseBatch(message)
	if err != nil {
		t.Fatal(err)
	}
	id := record.ID{Topic: edgeTopic, Partition: 1, Offset: offset}
	return store.Batch{
		Epoch: batch.Epoch, Deadline: batch.Epoch.Deadline(y.policy.Window),
		Edge: &store.EdgeBatch{Batch: batch, ID: id},
	}
}

// sealed draws events, seals each epoch's in one message and lets them arrive from
// offset on. It gives the records under the identities that they have then.
func (y *system) sealed(t testing.TB, seed uint64, n int, offset int64) (written []record.Record, arrived []store.Batch) {
	t.Helper()
	_, batches := y.events(seed, n)
	for i, b := range batches {
		message := y.atEdge(t, b.Epoch).Seal(nil, b.Records)
		for _, r := range b.Records {
			r.ID = record.ID{Topic: edgeTopic, Partition: 1, Offset: offset + int64(i), Index: uint32(r.ID.Offset)}
			written = append(written, r)
		}
		arrived = append(arrived, y.arrived(t, message, offset+int64(i)))
	}
	return written, arrived
}

func TestSealedAndPlainEventsAreFoundSideBySide(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return store.NewMemory() },
		"redis":  func(t *testing.T) store.Store { return store.NewRedis(redistest.Start(t).Client(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newSystem(t, open(t))
			y.mint(t)
			var written []record.Record
			var again []store.Batch
			for seed := range uint64(4) {
				y.mint(t)
				plain, batches := y.events(seed, 200)
				sealed, arrived := y.sealed(t, seed+100, 200, int64(seed)*1000)
				y.write(t, slices.Concat(batches, arrived))
				written = slices.Concat(written, plain, sealed)
				again = append(again, arrived[len(arrived)/2:]...)
			}
			y.check(t, written, true)

			// Kafka delivers some again, to another process; and somebody has copied
			// messages to later offsets.
			y.writer = store.NewWriter(y.ring, y.store)
			y.write(t, again)
			for i, b := range again {
				copied := *b.Edge
				copied.ID.Offset = 1_000_000 + int64(i)
				again[i].Edge = &copied
			}
			y.write(t, again)
			y.check(t, written, true)
		})
	}
}

// A copy may be stored before the first one is: the first place counts all the same.
func TestAReplayedBatchCountsWhereItWasFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		written, arrived := y.sealed(t, 1, 60, 500)
		for _, b := range arrived {
			copied := *b.Edge
			copied.ID.Offset += 10_000
			y.write(t, []store.Batch{{Epoch: b.Epoch, Deadline: b.Deadline, Edge: &copied}})
		}
		y.write(t, arrived)
		y.check(t, written, true)
	})
}

func TestABatchIsStoredUnderTheKeyThatItWasSealedTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		first, arrived := y.sealed(t, 1, 80, 0)
		other := keyring.NewMemoryNode("b") // after a failover: each node has a key of its own
		ring, err := keyring.New(y.node, other)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		alone, err := keyring.New(other)
		if err != nil {
			t.Fatal(err)
		}
		for _, epoch := range y.policy.Live(time.Now()) {
			_, err := alone.Mint(t.Context(), epoch, epoch.Deadline(y.policy.Window), y.kek, func() uint32 { return 16 },
				func(key keyring.Public) error { return y.store.Open(t.Context(), key) })
			if err != nil {
				t.Fatal(err)
			}
		}
		y.ring, y.writer = ring, store.NewWriter(ring, y.store)
		y.reader = store.NewReader(retention.Policies{y.policy}, keyring.NewOpener(ring, y.kek, nil), y.store)
		second, later := y.sealed(t, 2, 80, 1000)
		if arrived[0].Edge.Key == later[0].Edge.Key {
			t.Fatal("there is no second key")
		}
		y.write(t, slices.Concat(later, arrived))
		y.check(t, slices.Concat(first, second), true)
	})
}

// A producer can write what it likes. What is no event is left out and counted; it
// hides nothing, and makes no answer incomplete.
func TestAForgedSegmentHidesNothing(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(victim, other seal.Batch) seal.Batch{
		"garbled": func(victim, _ seal.Batch) seal.Batch {
			victim.Frames = slices.Clone(victim.Frames)
			for i, f := range victim.Frames {
				segment := bytes.Clone(f.Segment())
				segment[len(segment)-1] ^= 1
				victim.Frames[i], _ = seal.ParseSegment(f.Place, f.Writer, segment)
			}
			return victim
		},
		"under the victim's name": func(victim, other seal.Batch) seal.Batch {
			other.Wrap.Writer = victim.Wrap.Writer
			return other
		},
		"under the victim's wrap": func(victim, other seal.Batch) seal.Batch {
			other.Wrap = victim.Wrap
			return other
		},
		"views exchanged": func(victim, _ seal.Batch) seal.Batch {
			victim.Frames = slices.Clone(victim.Frames)
			for i, f := range victim.Frames {
				if f.Place.View == seal.ByAccount.AtEdge() {
					victim.Frames[i], _ = seal.ParseSegment(f.Place, f.Writer, victim.Frames[0].Segment())
				}
			}
			return victim
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				y := newSystem(t, store.NewMemory())
				y.mint(t)
				written, arrived := y.sealed(t, 1, 60, 500)
				_, others := y.sealed(t, 2, 60, 0)
				var forged []store.Batch
				for _, b := range arrived {
					i := slices.IndexFunc(others, func(o store.Batch) bool { return o.Epoch == b.Epoch })
					if i < 0 {
						continue
					}
					batch := forge(b.Edge.Batch, others[i].Edge.Batch)
					forged = append(forged, y.arrived(t, batch.Append(nil), int64(i))) // offsets before the victim's
				}
				y.write(t, slices.Concat(forged, arrived))
				if name == "views exchanged" { // its address view is genuine: a replay, and the first
					y.checkCount(t, len(written))
				} else {
					y.check(t, written, true)
				}
				if y.reader.Refused() == 0 {
					t.Error("no forgery is counted")
				}
			})
		})
	}
}

// checkCount expects n records of everybody, each once, and nothing missing.
func (y *system) checkCount(t *testing.T, n int) {
	t.Helper()
	found := 0
	for i := range 60 {
		answer, err := y.reader.Find(t.Context(), store.Query{Account: fmt.Sprint("user", i)})
		if err != nil || !answer.Complete {
			t.Fatalf("complete %v, %v", answer.Complete, err)
		}
		found += len(answer.Records)
	}
	if found != n {
		t.Fatalf("%d records found, want %d", found, n)
	}
}

func TestAnEdgeSealsNothingThatIngestWouldRefuse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, batches := y.events(1, 60)
		b := batches[0]
		b.Records = slices.DeleteFunc(b.Records, func(r record.Record) bool { return !all.Prefix.Contains(r.Address.Reveal()) })[:1]
		good := b.Records[0]
		for _, spoil := range []func(*record.Record){
			func(r *record.Record) { r.Time = b.Epoch.Start - 1 },
			func(r *record.Record) { r.Time = b.Epoch.Start + b.Epoch.Length },
			func(r *record.Record) { r.Account = "" },
			func(r *record.Record) { r.Account = strings.Repeat("a", 129) },
			func(r *record.Record) { r.Session = "\xff" },
			func(r *record.Record) { r.Server = "a\nb" },
			func(r *record.Record) { r.Ports = record.Ports{First: 2, Last: 1, Known: true} },
		} {
			bad := good
			spoil(&bad)
			b.Records = append(b.Records, bad)
		}
		spoiled := len(b.Records) - 1
		y.write(t, []store.Batch{y.arrived(t, y.atEdge(t, b.Epoch).Seal(nil, b.Records), 3)})
		answer, err := y.reader.Find(t.Context(), all)
		if err != nil || len(answer.Records) != 1 || !answer.Complete {
			t.Fatalf("%d records, complete %v, %v", len(answer.Records), answer.Complete, err)
		}
		if answer.Refused != spoiled {
			t.Errorf("%d refused of %d", answer.Refused, spoiled)
		}
	})
}

func TestALostFrameOfSegmentsIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		y := newSystem(t, memory)
		y.mint(t)
		_, arrived := y.sealed(t, 1, 100, 0)
		y.write(t, arrived)
		for _, f := range arrived[0].Edge.Frames {
			place := f.Place
			place.View = place.View.Stored()
			memory.Drop(place)
		}
		answer, err := y.reader.Find(t.Context(), all)
		if err != nil || answer.Complete {
			t.Fatalf("complete %v, %v", answer.Complete, err)
		}
	})
}

func TestWhatNobodyWillOpenIsNotStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		sealFor := func(change func(*seal.Batch)) *store.Sealed {
			t.Helper()
			_, arrived := y.sealed(t, 1, 30, 0)
			b := arrived[0].Edge.Batch
			change(&b)
			sealed, err := y.writer.Seal(t.Context(), []store.Batch{y.arrived(t, b.Append(nil), 0)})
			if err != nil {
				t.Fatal(err)
			}
			if err := y.writer.Append(t.Context(), sealed); err != nil {
				t.Fatal(err)
			}
			return sealed
		}
		if s := sealFor(func(*seal.Batch) {}); s.Stored == 0 || s.Unreadable != 0 {
			t.Errorf("a good batch: %d stored, %d unreadable", s.Stored, s.Unreadable)
		}
		if s := sealFor(func(b *seal.Batch) { b.Key[0]++ }); s.Stored != 0 || s.Unreadable == 0 {
			t.Errorf("a key that nobody has: %d stored, %d unreadable", s.Stored, s.Unreadable)
		}
		if s := sealFor(func(b *seal.Batch) { b.Frames[len(b.Frames)-1].Place.Shard = 3 }); s.Stored != 0 || s.Unreadable == 0 {
			t.Errorf("a shard that the key has not: %d stored, %d unreadable", s.Stored, s.Unreadable)
		}
		var purged retention.Epoch
		s := sealFor(func(b *seal.Batch) {
			purged = b.Epoch
			if err := y.ring.Destroy(t.Context(), b.Epoch, time.Hour); err != nil {
				t.Fatal(err)
			}
		})
		if s.Stored != 0 || s.Purged == 0 || y.writer.Holding(purged) {
			t.Errorf("a purged epoch: %d stored, %d purged", s.Stored, s.Purged)
		}
	})
}

func TestADueBatchIsCountedAndNotStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		written, arrived := y.sealed(t, 1, 50, 0)
		time.Sleep(2 * y.policy.Window)
		sealed, err := y.writer.Seal(t.Context(), arrived)
		if err != nil || sealed.Expired != len(written) || sealed.Stored != 0 {
			t.Fatalf("%d expired of %d, %d stored, %v", sealed.Expired, len(written), sealed.Stored, err)
		}
	})
}

func TestEveryFaultOfAnAppendLeavesEachSealedEventOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(10) {
			y := newFaulty(t, seed)
			y.mint(t)
			var written []record.Record
			for i := range uint64(4) {
				plain, batches := y.events(i, 30)
				sealed, arrived := y.sealed(t, i+50, 40, int64(i)*1000)
				y.write(t, slices.Concat(batches, arrived))
				written = slices.Concat(written, plain, sealed)
			}
			y.check(t, written, true)
		}
	})
}

// What Kafka still has of an epoch whose key is gone opens for nobody, whatever
// was copied of the keyring.
func TestASegmentOutlivesItsKeyUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, arrived := y.sealed(t, 1, 50, 0)
		b := arrived[0].Edge
		keys, err := y.opener.Keys(t.Context(), b.Epoch, b.Key)
		if err != nil {
			t.Fatal(err)
		}
		reader, err := y.opener.EdgeReader(keys[0], b.Wrap)
		if err == nil {
			_, err = reader.Open(&b.Frames[0])
		}
		if err != nil {
			t.Fatalf("while the epoch lives: %v", err)
		}
		stolen, err := y.node.Fetch(t.Context(), b.Epoch, "private")
		if err != nil || len(stolen) == 0 {
			t.Fatal(err)
		}
		deadline := b.Epoch.Deadline(y.policy.Window)
		time.Sleep(time.Until(deadline))
		if err := y.kek.Advance(time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := y.opener.Keys(t.Context(), b.Epoch, b.Key); err == nil {
			t.Error("the keyring still has the key")
		}
		for id, wrapped := range stolen {
			if _, err := y.kek.Unwrap(deadline, wrapped, []byte(b.Epoch.String()+" "+id)); !errors.Is(err, keyring.ErrDestroyed) {
				t.Errorf("the copied key is unwrapped: %v", err)
			}
		}
	})
}
