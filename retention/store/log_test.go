package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// system is a whole IP log in this process.
type system struct {
	policy retention.Policy
	node   *keyring.MemoryNode
	ring   *keyring.Keyring
	kek    keyring.KEK
	store  store.Store
	writer *store.Writer
	opener *keyring.Opener
	reader *store.Reader
	offset int64
	minted time.Time
}

func newSystem(t testing.TB, s store.Store) *system {
	t.Helper()
	y := &system{
		policy: retention.Policy{Name: "p", Window: 96 * time.Second, Epoch: 8 * time.Second},
		node:   keyring.NewMemoryNode("a"),
		store:  s,
	}
	var err error
	if y.ring, err = keyring.New(y.node); err != nil {
		t.Fatal(err)
	}
	if y.kek, err = keyring.NewMemoryKEK(time.Now()); err != nil {
		t.Fatal(err)
	}
	y.writer = store.NewWriter(y.ring, s)
	y.opener = keyring.NewOpener(y.ring, y.kek, zap.NewNop())
	y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, s)
	return y
}

func (y *system) mint(t testing.TB) {
	t.Helper()
	ctx := context.Background()
	y.minted = time.Now()
	for _, epoch := range y.policy.Live(y.minted) {
		_, err := y.ring.Mint(ctx, epoch, epoch.Deadline(y.policy.Window), y.kek, func() uint32 { return 3 },
			func(key keyring.Public) error { return y.store.Open(ctx, key) })
		if err != nil && !errors.Is(err, keyring.ErrDestroyed) {
			t.Fatal(err)
		}
	}
}

// newHour is one with a window of an hour, in two epochs, that have their keys.
func newHour(t testing.TB, s store.Store) *system {
	t.Helper()
	y := newSystem(t, s)
	y.policy.Window, y.policy.Epoch = time.Hour, 30*time.Minute
	y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
	y.mint(t)
	return y
}

// events draws records of the last minute, sorted into batches by epoch.
func (y *system) events(seed uint64, n int) ([]record.Record, []store.Batch) {
	r := rand.New(rand.NewPCG(seed, 1))
	var records []record.Record
	byEpoch := map[retention.Epoch][]record.Record{}
	for range n {
		ip := netip.AddrFrom4([4]byte{198, 51, 100 + byte(r.IntN(3)), byte(r.IntN(40))})
		if r.IntN(3) == 0 {
			ip = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 5: byte(r.IntN(4)), 7: byte(r.IntN(4)), 15: byte(r.IntN(9))})
		}
		a, _ := address.From(ip)
		y.offset += 1 + int64(r.IntN(3))
		rec := record.Record{
			ID:      record.ID{Topic: [16]byte{7}, Partition: int32(r.IntN(2)), Offset: y.offset},
			Time:    time.Now().Add(-time.Duration(r.IntN(60_000)) * time.Millisecond).UnixMilli(),
			Address: a, Account: fmt.Sprint("user", r.IntN(60)), Event: "connect",
			Ports: record.Ports{First: 1000, Last: 1000, Known: true},
		}
		records = append(records, rec)
		epoch := y.policy.EpochAt(time.UnixMilli(rec.Time))
		byEpoch[epoch] = append(byEpoch[epoch], rec)
	}
	var batches []store.Batch
	for epoch, of := range byEpoch {
		batches = append(batches, store.Batch{Epoch: epoch, Deadline: epoch.Deadline(y.policy.Window), Records: of})
	}
	return records, batches
}

func (y *system) write(t testing.TB, batches []store.Batch) {
	t.Helper()
	sealed, err := y.writer.Seal(context.Background(), batches)
	if err != nil {
		t.Fatal(err)
	}
	for attempt := 0; ; attempt++ {
		if err = y.writer.Append(context.Background(), sealed); err == nil {
			y.writer.Note(time.Now(), false)
			return
		}
		if attempt == 100 {
			t.Fatal(err)
		}
	}
}

// writeAll writes so many times so many events, and gives them.
func (y *system) writeAll(t testing.TB, times, events int) (written []record.Record) {
	t.Helper()
	for seed := range uint64(times) {
		records, batches := y.events(seed, events)
		y.write(t, batches)
		written = append(written, records...)
	}
	return written
}

// check compares look-ups with a filter over what was written, up to the last of it
// and the last mint: on a slow machine epochs begin meanwhile that nobody has minted.
func (y *system) check(t *testing.T, written []record.Record, complete bool) {
	t.Helper()
	last := y.minted
	for _, r := range written {
		if at := time.UnixMilli(r.Time); at.After(last) {
			last = at
		}
	}
	for _, q := range []store.Query{
		{Prefix: netip.MustParsePrefix("198.51.100.7/32")},
		{Prefix: netip.MustParsePrefix("198.51.100.0/24")},
		{Prefix: netip.MustParsePrefix("198.51.101.32/27")},
		{Prefix: netip.MustParsePrefix("198.51.0.0/16")},
		{Prefix: netip.MustParsePrefix("2001:db8:0:1::/64")},
		{Prefix: netip.MustParsePrefix("2001:db8::/32")},
		{Prefix: netip.MustParsePrefix("203.0.113.1/32")},
		{Account: "user7"}, {Account: "nobody"},
	} {
		q.To = last
		answer, err := y.reader.Find(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		due := func(r *record.Record) bool {
			return !y.policy.EpochAt(time.UnixMilli(r.Time)).Deadline(y.policy.Window).After(now)
		}
		var want, got []record.ID
		for _, r := range written {
			if !due(&r) && (q.Account != "" && r.Account == q.Account || q.Account == "" && q.Prefix.Contains(r.Address.Reveal())) {
				want = append(want, r.ID)
			}
		}
		for _, r := range answer.Records {
			if !due(&r) {
				got = append(got, r.ID)
			}
		}
		slices.SortFunc(want, record.ID.Compare)
		slices.SortFunc(got, record.ID.Compare)
		if !slices.Equal(got, want) {
			t.Fatalf("a query finds %d records, want %d", len(got), len(want))
		}
		if answer.Complete != complete {
			t.Fatalf("complete is %v, want %v", answer.Complete, complete)
		}
	}
}

func TestFindGivesExactlyWhatWasWritten(t *testing.T) {
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
			for seed := range uint64(5) {
				records, batches := y.events(seed, 300)
				y.mint(t) // an epoch may have begun since
				y.write(t, batches)
				written = append(written, records...)
			}
			y.check(t, written, true)

			// Kafka delivers some again, to another process, in other batches.
			y.writer = store.NewWriter(y.ring, y.store)
			for _, r := range written[100:400] {
				epoch := y.policy.EpochAt(time.UnixMilli(r.Time))
				y.write(t, []store.Batch{{Epoch: epoch, Deadline: epoch.Deadline(y.policy.Window), Records: []record.Record{r}}})
			}
			y.check(t, written, true)
		})
	}
}

// faulty fails appends, applied or not, as a lost connection does.
type faulty struct {
	store.Store
	draw *rand.Rand
}

func (f *faulty) Append(ctx context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error {
	switch f.draw.IntN(4) {
	case 0:
		return errors.New("not applied")
	case 1:
		_ = f.Store.Append(ctx, deadline, frames, manifest)
		return errors.New("applied, but the answer was lost")
	case 2: // the connection broke half-way: some frames, no manifest
		return errors.Join(f.Store.Append(ctx, deadline, frames[:len(frames)/2], seal.Frame{Place: manifest.Place}), errors.New("half"))
	}
	return f.Store.Append(ctx, deadline, frames, manifest)
}

func TestEveryFaultOfAnAppendLeavesEachRecordOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(20) {
			y := newFaulty(t, seed)
			y.mint(t)
			written := y.writeAll(t, 4, 60)
			y.check(t, written, true)
		}
	})
}

func newFaulty(t testing.TB, seed uint64) *system {
	return newSystem(t, &halving{faulty{store.NewMemory(), rand.New(rand.NewPCG(seed, 2))}})
}

// halving drops the empty manifest that a half-applied append leaves in memory.
type halving struct{ faulty }

func (h *halving) Directories(ctx context.Context, epochs []retention.Epoch) ([]store.Directory, error) {
	found, err := h.Store.Directories(ctx, epochs)
	for i := range found {
		found[i].Manifests = slices.DeleteFunc(found[i].Manifests, func(f seal.Frame) bool { return len(f.Bytes()) == 0 })
	}
	return found, err
}

func TestAnAbandonedBatchIsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		first, batches := y.events(1, 50)
		y.write(t, batches)
		_, abandoned := y.events(2, 50)
		if _, err := y.writer.Seal(context.Background(), abandoned); err != nil {
			t.Fatal(err)
		}
		third, batches := y.events(3, 50)
		y.write(t, batches)
		y.check(t, append(first, third...), true)
	})
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*system, *store.Memory, []store.Batch){
		"a chunk evicted": func(y *system, m *store.Memory, b []store.Batch) {
			keys, _ := y.ring.Public(context.Background(), b[0].Epoch)
			for shard := range keys[0].Shards {
				for _, view := range seal.Views {
					m.Drop(seal.Place{Epoch: b[0].Epoch, Key: keys[0].ID, View: view, Shard: shard})
				}
			}
		},
		"an epoch of the store lost": func(_ *system, m *store.Memory, b []store.Batch) {
			_ = m.Unlink(context.Background(), b[0].Epoch, nil)
		},
		"all keyring nodes lost": func(y *system, _ *store.Memory, _ []store.Batch) { y.node.Lose() },
		"all keyring nodes lost and new keys minted": func(y *system, _ *store.Memory, _ []store.Batch) {
			y.node.Lose()
			y.mint(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				memory := store.NewMemory()
				y := newSystem(t, memory)
				y.mint(t)
				_, batches := y.events(1, 500)
				y.write(t, batches)
				lose(y, memory, batches)
				time.Sleep(5 * time.Second) // no mint is on its way any more
				for _, q := range []store.Query{{Prefix: netip.MustParsePrefix("198.51.0.0/16")}, {Account: "user7"}} {
					answer, err := y.reader.Find(context.Background(), q)
					if err != nil || answer.Complete {
						t.Fatalf("the loss looks like innocence: complete %v, %v", answer.Complete, err)
					}
				}
			})
		})
	}
}

// hoarder is a store that forgets no deadline: a replica cut off, a backup.
type hoarder struct{ *store.Memory }

func (h hoarder) Append(ctx context.Context, _ time.Time, frames []seal.Frame, manifest seal.Frame) error {
	return h.Memory.Append(ctx, time.Now().Add(1000*time.Hour), frames, manifest)
}

func (h hoarder) Open(ctx context.Context, key keyring.Public) error {
	key.Deadline = time.Now().Add(1000 * time.Hour)
	return h.Memory.Open(ctx, key)
}

func TestNothingIsFoundPastItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, hoarder{store.NewMemory()})
		y.mint(t)
		written, batches := y.events(1, 400)
		y.write(t, batches)
		y.check(t, written, true) // every cache is warm now
		for range int(y.policy.Window/time.Second) + 1 {
			living := slices.DeleteFunc(slices.Clone(written), func(r record.Record) bool {
				epoch := y.policy.EpochAt(time.UnixMilli(r.Time))
				return !epoch.Deadline(y.policy.Window).After(time.Now())
			})
			y.mint(t)
			y.check(t, living, true)
			time.Sleep(time.Second)
		}
		y.check(t, nil, true)
	})
}

func TestAStoreThatStaysAwayKeepsNoFrameKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, batches := y.events(1, 1)
		sealed, err := y.writer.Seal(t.Context(), batches)
		if err != nil || !y.writer.Holding(batches[0].Epoch) {
			t.Fatalf("nothing to forget: %v", err)
		}
		time.Sleep(y.policy.Epoch + 10*time.Second) // the store did not answer
		if err := y.writer.Append(t.Context(), sealed); err != nil {
			t.Fatal(err)
		}
		if y.writer.Holding(batches[0].Epoch) {
			t.Fatal("the frame key of an epoch that is over is still in memory")
		}
	})
}

func TestIngestCannotReadBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, batches := y.events(1, 100)
		epoch := slices.MaxFunc(batches, func(a, b store.Batch) int { return int(a.Epoch.Start - b.Epoch.Start) }).Epoch
		y.write(t, batches)
		if !y.writer.Holding(epoch) {
			t.Fatal("nothing to forget")
		}
		time.Sleep(y.policy.Epoch + 10*time.Second)
		y.mint(t)
		if _, err := y.writer.Seal(ctx, nil); err != nil { // the flush of a quiet second
			t.Fatal(err)
		}
		if n := y.writer.Holding(epoch); n {
			t.Fatal("the frame key of an epoch that is over is still in memory")
		}
		// What ingest's access list lets it read of the keyring opens nothing.
		keys, err := y.ring.Public(ctx, epoch)
		if err != nil {
			t.Fatal(err)
		}
		directories, err := y.store.Directories(ctx, []retention.Epoch{epoch})
		if err != nil || len(directories[0].Manifests) == 0 {
			t.Fatal(err)
		}
		_, stranger, err := seal.GenerateKey()
		if err != nil {
			t.Fatal(err)
		}
		wraps, err := y.node.Fetch(ctx, epoch, "wraps")
		if err != nil || len(wraps) == 0 {
			t.Fatal(err)
		}
		for _, frame := range directories[0].Manifests {
			wrap := seal.Wrap{Writer: frame.Writer}
			wrap.Encapsulated = wraps[keys[0].ID.String()+" "+frame.Writer.String()]
			r, err := seal.NewReader(epoch, keys[0].ID, stranger, wrap)
			if err != nil {
				continue
			}
			if _, err := r.Open(&frame); err == nil {
				t.Fatal("a frame opened without the epoch's private key")
			}
		}
	})
}

func TestALostKeyIsNoticedAtTheNextBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, batches := y.events(1, 10)
		y.write(t, batches)
		y.node.Lose()
		if _, err := y.writer.Seal(context.Background(), batches); !errors.Is(err, store.ErrKeyLost) {
			t.Fatalf("sealing under a key that nobody can open: %v", err)
		}
		if sealed, err := y.writer.Seal(context.Background(), batches[:1]); err != nil || sealed.Stored > 0 || len(sealed.Waiting) != 1 {
			t.Fatalf("sealed without a key: %+v, %v", sealed, err)
		}
		y.mint(t)
		y.write(t, batches[:1])
	})
}

// over is a node whose clock is ahead: to it every epoch has passed its deadline.
type over struct{ *keyring.MemoryNode }

func (over) Publish(context.Context, retention.Epoch, time.Time, keyring.Contents) error {
	return keyring.ErrDestroyed
}

// Clocks can be set right, so what they refuse is no reason to give events up.
func TestAKeyringThatIsAheadExpiresNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		records, batches := y.events(1, 10)
		ring, err := keyring.New(over{y.node})
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := store.NewWriter(ring, y.store).Seal(context.Background(), batches)
		if err != nil || sealed.Purged+sealed.Expired+sealed.Stored > 0 || sealed.Lacking == nil {
			t.Fatalf("of %d events %d purged, %d expired, %d stored (%v)", len(records), sealed.Purged, sealed.Expired, sealed.Stored, err)
		}
	})
}

func TestAWriterMeetsADestroyedEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		records, batches := y.events(1, 100)
		sealed, err := y.writer.Seal(context.Background(), batches)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * y.policy.Window) // the store is away until all is over
		if err := y.writer.Append(context.Background(), sealed); err != nil {
			t.Fatal(err)
		}
		if sealed.Stored != 0 || sealed.Expired != len(records) {
			t.Fatalf("%d stored, %d expired", sealed.Stored, sealed.Expired)
		}
		y.mint(t)
		y.check(t, nil, true)
	})
}

func TestEpochsOfAChangedPolicyAreStillFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		before, batches := y.events(1, 200)
		y.write(t, batches)
		y.policy.Epoch = 12 * time.Second // a restart with another epoch length
		y.mint(t)
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		after, batches := y.events(2, 200)
		y.write(t, batches)
		y.check(t, append(before, after...), true)
	})
}
