package keyring

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/seal"
)

var minute = retention.Policy{Name: "p", Window: time.Minute, Epoch: 10 * time.Second}

func silent(Public) error { return nil }

func four() uint32 { return 4 }

func testKEK() KEK { return newChain(slotAt(time.Now()), make([]byte, 32)) }

func mint(t *testing.T, ring *Keyring, kek KEK, epoch retention.Epoch) error {
	t.Helper()
	_, err := ring.Mint(context.Background(), epoch, epoch.Deadline(minute.Window), kek, four, silent)
	return err
}

func TestMintIsOncePerEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		a, b := NewMemoryNode("a"), NewMemoryNode("b")
		ring, _ := New(a, b)
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		announced := 0
		for range 3 {
			_, err := ring.Mint(ctx, epoch, epoch.Deadline(minute.Window), kek, four, func(Public) error { announced++; return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		keys, err := ring.Public(ctx, epoch)
		if err != nil || len(keys) != 1 || announced != 1 || keys[0].Shards != 4 {
			t.Fatalf("%d keys, %d announced, %v", len(keys), announced, err)
		}

		b.Lose() // one node restarts empty: the next round repairs it from the other
		if err := mint(t, ring, kek, epoch); err != nil {
			t.Fatal(err)
		}
		only, _ := New(b)
		repaired, err := only.Public(ctx, epoch)
		if err != nil || len(repaired) != 1 || repaired[0].ID != keys[0].ID {
			t.Fatalf("the empty node was not repaired: %v", err)
		}

		a.Lose()
		b.Lose() // all nodes lost: a second key, never the first again
		if err := mint(t, ring, kek, epoch); err != nil {
			t.Fatal(err)
		}
		again, err := ring.Public(ctx, epoch)
		if err != nil || len(again) != 1 || again[0].ID == keys[0].ID {
			t.Fatalf("after the loss of all nodes: %v", err)
		}
	})
}

func TestMintNeedsTheAnnouncement(t *testing.T) {
	t.Parallel()
	ring, _ := New(NewMemoryNode("a"))
	epoch := minute.EpochAt(time.Now())
	refused := errors.New("full")
	_, err := ring.Mint(context.Background(), epoch, epoch.Deadline(minute.Window), testKEK(), four,
		func(Public) error { return refused })
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if _, err := ring.Public(context.Background(), epoch); !errors.Is(err, ErrNoKey) {
		t.Fatalf("a key is in use that nobody was told of: %v", err)
	}
}

func TestTwoKeysOfOneEpochBothOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		a, b := NewMemoryNode("a"), NewMemoryNode("b")
		ringA, _ := New(a)
		ringB, _ := New(b)
		both, _ := New(a, b)
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		for _, ring := range []*Keyring{ringA, ringB, both} { // a partition between wardens, then its end
			if err := mint(t, ring, kek, epoch); err != nil {
				t.Fatal(err)
			}
		}
		opener := NewOpener(both, kek, zap.NewNop())
		keys, err := opener.Keys(ctx, epoch)
		if err != nil || len(keys) != 2 {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, key := range keys {
			w, err := seal.NewWriter(epoch, key.ID, key.Key)
			if err != nil {
				t.Fatal(err)
			}
			if err := both.PublishWrap(ctx, key.Public, w.Wrap()); err != nil {
				t.Fatal(err)
			}
			frame := w.Seal(seal.ByAddress, 0, []byte("rows"))
			r, err := opener.Reader(ctx, key, frame.Writer)
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := r.Open(&frame); err != nil || string(payload) != "rows" {
				t.Fatalf("%q, %v", payload, err)
			}
		}
	})
}

func TestDestroyNeedsEveryNode(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	a, b := NewMemoryNode("a"), NewMemoryNode("b")
	ring, _ := New(a, b)
	epoch := minute.EpochAt(time.Now())
	if err := mint(t, ring, testKEK(), epoch); err != nil {
		t.Fatal(err)
	}
	b.Fail(errors.New("read only"))
	if err := ring.Destroy(ctx, epoch, time.Minute); err == nil {
		t.Fatal("a node that kept its key counted as purged")
	}
	b.Fail(nil)
	if err := ring.Destroy(ctx, epoch, time.Minute); err != nil {
		t.Fatal(err)
	}
	if answering, holding := ring.Holding(ctx, epoch); answering != 2 || holding != 0 {
		t.Fatalf("%d nodes answer, %d hold", answering, holding)
	}
	if err := mint(t, ring, testKEK(), epoch); !errors.Is(err, ErrDestroyed) {
		t.Fatalf("minting what was destroyed: %v", err)
	}
}

func TestCachesDieByThemselves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		ring, _ := New(NewMemoryNode("a"))
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, ring, kek, epoch); err != nil {
			t.Fatal(err)
		}
		opener := NewOpener(ring, kek, zap.NewNop())
		go func() { _ = opener.Run(ctx) }()
		if _, err := opener.Keys(ctx, epoch); err != nil || !opener.Holds(epoch) {
			t.Fatal(err)
		}
		time.Sleep(time.Until(epoch.Deadline(minute.Window)) + time.Second)
		synctest.Wait()
		if opener.Holds(epoch) {
			t.Fatal("a key outlived its deadline in the cache")
		}
		if _, err := opener.Keys(ctx, epoch); err == nil {
			t.Fatal("a dead epoch's key can still be had")
		}
		cancel()
		synctest.Wait()
	})
}

func TestADueKeyIsNotServedEvenUnswept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		ring, _ := New(NewMemoryNode("a"))
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, ring, kek, epoch); err != nil {
			t.Fatal(err)
		}
		opener := NewOpener(ring, kek, zap.NewNop()) // its Run is dead: the rotation task of case 16
		if _, err := opener.Keys(ctx, epoch); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(epoch.Deadline(minute.Window)))
		if _, err := opener.Keys(ctx, epoch); err == nil {
			t.Fatal("a warm cache served a key at its deadline")
		}
	})
}
