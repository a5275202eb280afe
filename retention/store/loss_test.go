package store_test

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// What is lost is said, and what can be saved is: keys, wraps, directories.

var all = store.Query{Prefix: netip.MustParsePrefix("198.51.0.0/16")}

func TestAnEventThatDiesWhileItWaitsBlocksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		records, batches := y.events(1, 20)
		time.Sleep(2 * y.policy.Window)
		y.mint(t)
		sealed, err := y.writer.Seal(context.Background(), batches)
		if err != nil {
			t.Fatalf("an event past its deadline blocks all others: %v", err)
		}
		if sealed.Expired != len(records) {
			t.Fatal(sealed.Expired)
		}
	})
}

func TestAKeyEncryptionKeyThatIsAheadIsALoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, batches := y.events(1, 200)
		y.write(t, batches)
		_ = y.kek.Advance(time.Now().Add(2 * y.policy.Window)) // the clock jumped and came back
		a, err := y.reader.Find(context.Background(), all)
		if err == nil && a.Complete {
			t.Fatalf("%d records, complete %v", len(a.Records), a.Complete)
		}
	})
}

func TestAWarmReaderSeesASecondKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		a1, batches := y.events(1, 200)
		y.write(t, batches)
		y.check(t, a1, true) // warm
		y.node.Lose()
		y.mint(t)
		y.writer = store.NewWriter(y.ring, y.store)
		_, batches = y.events(2, 200)
		y.write(t, batches)
		ans, err := y.reader.Find(context.Background(), all)
		if err != nil {
			t.Fatal(err)
		}
		second := 0
		for _, r := range ans.Records {
			if r.ID.Offset > a1[len(a1)-1].ID.Offset {
				second++
			}
		}
		if second == 0 {
			t.Fatal("nothing under the second key is found, though the keyring has it")
		}
	})
}

func TestWritersLeaveAKeyThatNobodyOpens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		// the host that had the KEK on tmpfs reboots: keygen, warden and desk start again; the keyring lives on
		y.kek, _ = keyring.NewMemoryKEK(time.Now())
		y.opener = keyring.NewOpener(y.ring, y.kek, zap.NewNop())
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		y.mint(t) // the warden's repair
		written, batches := y.events(1, 200)
		y.write(t, batches) // acknowledged, and read by nobody ever
		a, err := y.reader.Find(context.Background(), all)
		want := slices.DeleteFunc(written, func(r record.Record) bool { return !all.Prefix.Contains(r.Address.Reveal()) })
		if err != nil || len(a.Records) != len(want) {
			t.Fatal("writers went on sealing to a key that nobody can open")
		}
	})
}

func TestRetriesDoNotFillTheStore(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	y := newSystem(t, store.NewRedis(c))
	y.mint(t)
	ctx := context.Background()
	_, batches := y.events(1, 300)
	y.write(t, batches[:1])
	sealed, err := y.writer.Seal(ctx, batches[:1])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Keys(ctx, "*/account/*").Val() {
		c.Set(ctx, name, "x", time.Minute) // stands for a Cluster node that is away
	}
	for range 100 {
		if y.writer.Append(ctx, sealed) == nil {
			t.Fatal("a key of another type took a frame")
		}
	}
	var most int64
	for _, name := range c.Keys(ctx, "*/ip/*").Val() {
		most = max(most, c.LLen(ctx, name).Val())
	}
	if most > 2 {
		t.Fatalf("a list holds its two frames %d times after 100 attempts", most)
	}
}

func TestUnlinkFindsChunksOnceTheDirectoryIsGone(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	st := store.NewRedis(c)
	ctx := context.Background()
	ring, _ := keyring.New(keyring.NewRedisNode("a", redistest.Start(t).Client(t)))
	kek, _ := keyring.NewMemoryKEK(time.Now())
	p := retention.Policy{Name: "p", Window: 2 * time.Second, Epoch: time.Second}
	epoch := p.EpochAt(time.Now())
	keys, err := ring.Mint(ctx, epoch, epoch.Deadline(p.Window), kek, func() uint32 { return 1 },
		func(k keyring.Public) error { return st.Open(ctx, k) })
	if err != nil {
		t.Fatal(err)
	}
	y := newSystem(t, st)
	recs, _ := y.events(1, 5)
	w := store.NewWriter(ring, st)
	sealed, err := w.Seal(ctx, []store.Batch{{Epoch: epoch, Deadline: epoch.Deadline(p.Window), Records: recs}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(ctx, sealed); err != nil {
		t.Fatal(err)
	}
	for _, name := range c.Keys(ctx, "*/ip/*").Val() {
		c.Persist(ctx, name) // a chunk that lost its expiry: restored from a dump, say
	}
	time.Sleep(time.Until(epoch.Deadline(p.Window)) + 2*time.Millisecond)
	// as warden.purge does
	if _, err := ring.Public(ctx, epoch); err == nil {
		t.Fatal("the keyring still has the keys at the deadline")
	}
	if err := ring.Destroy(ctx, epoch, p.Window); err != nil {
		t.Fatal(err)
	}
	if err := st.Unlink(ctx, epoch, keys); err != nil {
		t.Fatal(err)
	}
	if left := c.Keys(ctx, "mayfly:{p/*/ip/*").Val(); len(left) > 0 {
		t.Fatalf("purge verified, but %d chunks are left", len(left))
	}
}

func TestALostWrapIsNoticedOrMadeUpFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		y := newSystem(t, store.NewMemory())
		a, b := keyring.NewMemoryNode("a"), keyring.NewMemoryNode("b")
		y.ring, _ = keyring.New(a, b)
		y.writer = store.NewWriter(y.ring, y.store)
		y.opener = keyring.NewOpener(y.ring, y.kek, zap.NewNop())
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		y.mint(t)
		a.Fail(context.DeadlineExceeded)
		_, batches := y.events(1, 50)
		y.write(t, batches)
		a.Fail(nil)
		b.Lose() // within 10 s: before the warden's repair
		for range 6 {
			time.Sleep(time.Second)
			_, batches := y.events(2, 50)
			sealed, err := y.writer.Seal(ctx, batches)
			if err != nil {
				return // noticed: what was written is read from Kafka again
			}
			if err := y.writer.Append(ctx, sealed); err != nil {
				t.Fatal(err)
			}
			if a, err := y.reader.Find(ctx, all); err == nil && a.Complete && len(a.Records) > 0 {
				return // the wrap is back
			}
			y.mint(t)
		}
		t.Fatal("events are acknowledged under a frame key whose wrap is gone")
	})
}

func TestADamagedDirectoryStopsNoPurge(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	c := s.Client(t)
	st := store.NewRedis(c)
	p := retention.Policy{Name: "p", Window: 2 * time.Second, Epoch: time.Second}
	epoch := p.EpochAt(time.Now())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c.HSet(ctx, "mayfly:{"+epoch.String()+"}", "key 0000000000000001", 1<<24-1)
	began := time.Now()
	err := st.Unlink(ctx, epoch, nil)
	t.Logf("%v %v", err, time.Since(began))
	if err != nil {
		t.Fatal(err)
	}
}

func TestLateEventsDoNotMakeAWrapEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.policy.Window, y.policy.Epoch = time.Hour, 30*time.Second
		y.mint(t)
		recs, _ := y.events(1, 1)
		epoch := y.policy.EpochAt(time.UnixMilli(recs[0].Time))
		for range 300 { // one late event every 6 s, for half an hour
			recs[0].ID.Offset++
			y.write(t, []store.Batch{{Epoch: epoch, Deadline: epoch.Deadline(y.policy.Window), Records: recs}})
			time.Sleep(6 * time.Second)
		}
		wraps, _ := y.node.Fetch(context.Background(), epoch, "wraps")
		if len(wraps) > 70 {
			t.Fatalf("%d wraps, %d kB on each keyring node, for 300 events of one epoch", len(wraps), len(wraps)*1120/1000)
		}
	})
}

// slow is a store whose chunks take long to read.
type slow struct {
	*store.Memory
	wait time.Duration
}

func (s *slow) Chunks(ctx context.Context, places []seal.Place) ([]store.Chunk, error) {
	chunks, err := s.Memory.Chunks(ctx, places)
	time.Sleep(s.wait)
	return chunks, err
}

func TestWhatComesDueDuringALookUpIsNotInTheAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Memory: store.NewMemory()}
		y := newSystem(t, s)
		y.mint(t)
		_, batches := y.events(1, 200)
		y.write(t, batches)
		s.wait = 2 * y.policy.Window
		if a, err := y.reader.Find(context.Background(), all); err != nil || len(a.Records) != 0 {
			t.Fatalf("%d records past their deadline, %v", len(a.Records), err)
		}
	})
}

// A reader with a shortened window shows nothing older, though no warden has purged it.
func TestAReaderKeepsToItsPolicysWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		written, batches := y.events(1, 400)
		y.write(t, batches)
		y.check(t, written, true)
		shorter := y.policy
		shorter.Window = 24 * time.Second
		y.reader = store.NewReader(retention.Policies{shorter}, y.opener, y.store)
		living := slices.DeleteFunc(written, func(r record.Record) bool {
			return !y.policy.EpochAt(time.UnixMilli(r.Time)).Deadline(shorter.Window).After(time.Now())
		})
		y.check(t, living, true)
	})
}

// A clock set back brings nothing that was wiped to life.
func TestWipeIsForGood(t *testing.T) {
	t.Parallel()
	deadline := time.Unix(1_763_775_000, 0)
	b := store.Batch{Deadline: deadline, Records: []record.Record{{Account: "ada"}}}
	if b.Wipe(deadline.Add(-time.Millisecond)) || b.Records[0].Account != "ada" {
		t.Fatal("wiped before its deadline")
	}
	if !b.Wipe(deadline) || len(b.Records) != 1 || b.Records[0] != (record.Record{}) {
		t.Fatal("not erased at its deadline, or not to be counted any more")
	}
	if !b.Wipe(deadline.Add(-time.Hour)) {
		t.Fatal("erased records count as living after the clock was set back")
	}
}

// noted is a store that notes until when it was to keep what.
type noted struct {
	store.Store
	deadlines []time.Time
}

func (n *noted) Append(ctx context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error {
	n.deadlines = append(n.deadlines, deadline)
	return n.Store.Append(ctx, deadline, frames, manifest)
}

// A window is shortened while a writer with the old configuration writes on.
func TestAWriterFollowsAShortenedKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &noted{Store: store.NewMemory()}
		y := newSystem(t, n)
		y.mint(t)
		_, batches := y.events(1, 10)
		y.write(t, batches[:1])
		epoch := batches[0].Epoch
		deadline := epoch.Deadline(y.policy.Window - 10*time.Second)
		if err := y.ring.Shorten(context.Background(), epoch, deadline, y.kek); err != nil {
			t.Fatal(err)
		}
		y.write(t, batches[:1])
		if last := n.deadlines[len(n.deadlines)-1]; !last.Equal(deadline) {
			t.Errorf("written to live until %v, want %v", last, deadline)
		}
	})
}

// A look-up by account needs both views, one by address only its own.
func TestALossInEitherViewIsSaid(t *testing.T) {
	t.Parallel()
	byAccount := store.Query{Account: "user7"}
	for _, test := range []struct {
		view     seal.View
		query    store.Query
		complete bool
	}{
		{seal.ByAccount, byAccount, false},
		{seal.ByAccount, all, true},
		{seal.ByAddress, byAccount, false},
		{seal.ByAddress, all, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			memory := store.NewMemory()
			y := newSystem(t, memory)
			y.mint(t)
			_, batches := y.events(1, 500)
			y.write(t, batches)
			for _, b := range batches {
				keys, err := y.ring.Public(context.Background(), b.Epoch)
				if err != nil {
					t.Fatal(err)
				}
				for shard := range keys[0].Shards {
					memory.Drop(seal.Place{Epoch: b.Epoch, Key: keys[0].ID, View: test.view, Shard: shard})
				}
			}
			answer, err := y.reader.Find(context.Background(), test.query)
			if err != nil || answer.Complete != test.complete {
				t.Errorf("the %v view lost, account %v: complete %v, %v", test.view, test.query.Account != "", answer.Complete, err)
			}
		})
	}
}

// shifted is a node with another clock than ours.
type shifted struct {
	*keyring.MemoryNode
	by time.Duration
}

func (s shifted) Lives(ctx context.Context, epochs ...retention.Epoch) (time.Time, []keyring.Life, error) {
	now, lives, err := s.MemoryNode.Lives(ctx, epochs...)
	return now.Add(s.by), lives, err
}

// A machine that takes living epochs for dead must not say that this is all.
func TestALookUpByAWrongClockIsIncomplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		_, batches := y.events(1, 10)
		y.write(t, batches)
		ring, _ := keyring.New(shifted{y.node, -time.Hour})
		reader := store.NewReader(retention.Policies{y.policy}, keyring.NewOpener(ring, y.kek, zap.NewNop()), y.store)
		if _, err := reader.Find(context.Background(), all); err != nil { // which compares clocks
			t.Fatal(err)
		}
		if a, err := reader.Find(context.Background(), all); err != nil || a.Complete {
			t.Errorf("complete although this machine is an hour ahead (%v)", err)
		}
	})
}

// stamped is a node whose keys say that they were minted later than they were.
type stamped struct {
	*keyring.MemoryNode
	by time.Duration
}

func (s stamped) Publish(ctx context.Context, epoch retention.Epoch, deadline time.Time, c keyring.Contents) error {
	for _, entry := range c["public"] {
		binary.BigEndian.PutUint64(entry[1:], binary.BigEndian.Uint64(entry[1:])+uint64(s.by.Milliseconds()))
	}
	return s.MemoryNode.Publish(ctx, epoch, deadline, c)
}

// The directory is lost, and the key was minted by a warden whose clock is ahead: it
// is not one that has only just been minted.
func TestALostDirectoryIsNoticedWhoeverMinted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.ring, _ = keyring.New(stamped{y.node, time.Hour})
		y.writer = store.NewWriter(y.ring, y.store)
		y.mint(t)
		_, batches := y.events(1, 10)
		y.write(t, batches)
		time.Sleep(5 * time.Second)
		emptied := store.NewMemory()
		reader := store.NewReader(retention.Policies{y.policy}, y.opener, emptied)
		if a, err := reader.Find(t.Context(), all); err != nil || a.Complete {
			t.Errorf("everything that was stored is lost, and the answer of %d records is complete (%v)", len(a.Records), err)
		}
	})
}

// counting counts the chunks that are read.
type counting struct {
	*store.Memory
	chunks atomic.Int64
}

func (c *counting) Chunks(ctx context.Context, places []seal.Place) ([]store.Chunk, error) {
	c.chunks.Add(int64(len(places)))
	return c.Memory.Chunks(ctx, places)
}

// Of an account that has one address a look-up reads two chunks an epoch: where
// it is mentioned, and where its records are.
func TestALookUpByAccountReadsTheShardsThatMentionIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &counting{Memory: store.NewMemory()}
		y := newSystem(t, s)
		y.mint(t)
		records, batches := y.events(1, 400)
		for i := range batches {
			for j := range batches[i].Records {
				r := &batches[i].Records[j]
				if r.Account == "user7" {
					r.Address = records[0].Address
				}
			}
		}
		y.write(t, batches)
		s.chunks.Store(0)
		answer, err := y.reader.Find(t.Context(), store.Query{Account: "user7"})
		if err != nil || len(answer.Records) == 0 {
			t.Fatalf("%d records, %v", len(answer.Records), err)
		}
		epochs := map[retention.Epoch]bool{}
		for _, r := range answer.Records {
			epochs[y.policy.EpochAt(time.UnixMilli(r.Time))] = true
		}
		if most := int64(len(y.policy.Live(time.Now())) + len(epochs)); s.chunks.Load() > most {
			t.Errorf("%d chunks were read, want at most %d", s.chunks.Load(), most)
		}
	})
}
