package keyring

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// A window is shortened: what a node holds from then on is lost to the
// key-encryption key at the new deadline, not at the old one.
func TestAShortenedKeyIsLostToTheKEKInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		node := NewMemoryNode("a")
		ring, _ := New(node)
		kek := testKEK()
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, ring, kek, epoch); err != nil {
			t.Fatal(err)
		}
		deadline := epoch.Deadline(minute.Window / 2)
		if err := ring.Shorten(ctx, epoch, deadline, kek); err != nil {
			t.Fatal(err)
		}
		keys, err := NewOpener(ring, kek, zap.NewNop()).Keys(ctx, epoch)
		if err != nil || !keys[0].Deadline.Equal(deadline) {
			t.Fatalf("a shortened key that lives: %v", err)
		}
		copied, _ := node.Fetch(ctx, epoch, partPrivate) // by a thief, a moment before
		if err := kek.Advance(deadline); err != nil {
			t.Fatal(err)
		}
		public := keys[0].Public
		for _, wrapped := range copied {
			if _, err := public.unwrap(kek, wrapped); !errors.Is(err, ErrDestroyed) {
				t.Errorf("past the shortened deadline the copied wrap gives %v", err)
			}
		}
	})
}

// One node was away while its neighbour's key was shortened.
func TestNodesThatDifferInDeadlineAgreeOnTheEarlier(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"ab", "ba"} {
		synctest.Test(t, func(t *testing.T) {
			ctx := context.Background()
			nodes := map[rune]*MemoryNode{'a': NewMemoryNode("a"), 'b': NewMemoryNode("b")}
			var list []Node
			for _, name := range order {
				list = append(list, nodes[name])
			}
			ring, _ := New(list...)
			kek := testKEK()
			epoch := minute.EpochAt(time.Now())
			if err := mint(t, ring, kek, epoch); err != nil {
				t.Fatal(err)
			}
			deadline := epoch.Deadline(minute.Window / 2)
			nodes['b'].Fail(errors.New("away"))
			if err := ring.Shorten(ctx, epoch, deadline, kek); err != nil {
				t.Fatal(err)
			}
			nodes['b'].Fail(nil)
			keys, err := NewOpener(ring, kek, zap.NewNop()).Keys(ctx, epoch)
			if err != nil || len(keys) != 1 || !keys[0].Deadline.Equal(deadline) {
				t.Fatalf("%d keys, %v", len(keys), err)
			}
			// The next repair brings it to the node that was away.
			if _, err := ring.Mint(ctx, epoch, deadline, kek, four, silent); err != nil {
				t.Fatal(err)
			}
			only, _ := New(nodes['b'])
			if keys, err := only.Public(ctx, epoch); err != nil || !keys[0].Deadline.Equal(deadline) {
				t.Errorf("the node that was away keeps the old deadline: %v", err)
			}
		})
	}
}
