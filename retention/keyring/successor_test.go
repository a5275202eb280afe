package keyring

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/retention"
)

// A key that succeeds a lost one says so, and says so still when it is read back.
func TestASuccessorSaysSo(t *testing.T) {
	t.Parallel()
	for _, had := range []bool{false, true} {
		ring, _ := New(NewMemoryNode("a"), NewMemoryNode("b"))
		epoch := minute.EpochAt(time.Now())
		keys, err := ring.MintKnowing(t.Context(), epoch, epoch.Deadline(minute.Window), testKEK(), func() bool { return had }, four, silent)
		if err != nil || len(keys) != 1 || keys[0].Successor != had {
			t.Errorf("a key had: %v; minted %+v, %v", had, keys, err)
		}
		if keys, err = ring.Public(t.Context(), epoch); err != nil || keys[0].Successor != had {
			t.Errorf("a key had: %v; read %+v, %v", had, keys, err)
		}
	}
}

// Nodes that take nothing for a while are offered the same key: it was announced,
// and must not look like one that was lost.
func TestAnAnnouncedKeyIsOfferedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := &refusing{MemoryNode: NewMemoryNode("a"), refusal: ErrNotBegun}
		ring, _ := New(node)
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		var announced []Public
		mint := func() ([]Public, error) {
			return ring.MintKnowing(t.Context(), epoch, epoch.Deadline(minute.Window), kek,
				func() bool { return len(announced) > 0 }, four, func(key Public) error { announced = append(announced, key); return nil })
		}
		for range 3 {
			if _, err := mint(); !errors.Is(err, ErrNotBegun) {
				t.Fatal(err)
			}
		}
		node.refusal = nil
		keys, err := mint()
		if err != nil || len(announced) != 1 || keys[0].ID != announced[0].ID || keys[0].Successor {
			t.Fatalf("%d keys were announced; minted %+v, %v", len(announced), keys, err)
		}
		// One that a node took, and then lost, is never offered again.
		node.Lose()
		keys, err = mint()
		if err != nil || len(announced) != 2 || keys[0].ID == announced[0].ID || !keys[0].Successor {
			t.Fatalf("after a loss %d keys were announced; minted %+v, %v", len(announced), keys, err)
		}
	})
}

// A key that nobody can open was minted by a warden whose clock was ahead, and lives
// on. Writers go by the newest, which must be the one that was minted since.
func TestAKeyThatOpensPrecedesAllThatDoNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := NewMemoryNode("a")
		ring, _ := New(&hasty{MemoryNode: node, by: time.Minute})
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, ring, testKEK(), epoch); err != nil {
			t.Fatal(err)
		}
		other, err := NewMemoryKEK(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		ring, _ = New(node)
		if err := mint(t, ring, other, epoch); err != nil {
			t.Fatal(err)
		}
		keys, err := ring.Public(t.Context(), epoch)
		if err != nil || len(keys) != 2 {
			t.Fatal(len(keys), err)
		}
		opener := NewOpener(ring, other, zap.NewNop())
		opened, err := opener.Keys(t.Context(), epoch)
		if err != nil || len(opened) != 1 || opened[0].ID != keys[0].ID {
			t.Errorf("writers seal to a key that nobody can open (%v)", err)
		}
	})
}

// hasty is a node to which a warden publishes whose clock is ahead.
type hasty struct {
	*MemoryNode
	by time.Duration
}

func (h *hasty) Publish(ctx context.Context, e retention.Epoch, deadline time.Time, c Contents) error {
	for _, entry := range c[partPublic] {
		minted := binary.BigEndian.Uint64(entry[1:])
		binary.BigEndian.PutUint64(entry[1:], minted+uint64(h.by.Milliseconds()))
	}
	return h.MemoryNode.Publish(ctx, e, deadline, c)
}

type refusing struct {
	*MemoryNode
	refusal error
}

func (r *refusing) Publish(ctx context.Context, e retention.Epoch, deadline time.Time, c Contents) error {
	if r.refusal != nil {
		return r.refusal
	}
	return r.MemoryNode.Publish(ctx, e, deadline, c)
}

// Two who mint side by side mint once: were the slower one's look at the nodes as
// old as the faster one's, the key of the faster would look like one that was lost.
func TestTwoMintsAtOnceAreOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ring, _ := New(&slow{NewMemoryNode("a")})
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		announced := 0
		var g errgroup.Group
		for i := range 2 {
			g.Go(func() error {
				time.Sleep(time.Duration(i) * time.Second) // the second looks before the first publishes
				keys, err := ring.MintKnowing(t.Context(), epoch, epoch.Deadline(minute.Window), kek,
					func() bool { return announced > 0 }, four, func(Public) error { announced++; return nil })
				if err != nil || len(keys) != 1 || keys[0].Successor {
					t.Errorf("%d keys, %v, or one that passes for a lost one's successor", len(keys), err)
				}
				return nil
			})
		}
		if _ = g.Wait(); announced != 1 {
			t.Errorf("%d keys were announced", announced)
		}
	})
}

// slow takes two seconds to answer what it had when it was asked.
type slow struct{ *MemoryNode }

func (s *slow) Fetch(ctx context.Context, epoch retention.Epoch, part Part) (map[string][]byte, error) {
	fields, err := s.MemoryNode.Fetch(ctx, epoch, part)
	time.Sleep(2 * time.Second)
	return fields, err
}
