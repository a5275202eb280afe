package keyring

import (
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
)

// Of nodes that differ the one counts that ends the epoch first.
func TestTheNodeThatEndsFirstCounts(t *testing.T) {
	t.Parallel()
	for _, order := range [][]Life{
		{{Held: true, Remaining: 1}, {Held: true, Remaining: 2}, {Purged: true}},
		{{Purged: true}, {Held: true, Remaining: 2}, {Held: true, Remaining: 1}},
	} {
		var all Life
		for _, one := range order {
			all.add(one)
		}
		if want := (Life{Held: true, Remaining: 1, Purged: true}); all != want {
			t.Errorf("%+v", all)
		}
	}
}

// An entry that somebody has persisted on every node lives as long as its key says.
func TestAPersistedEntryEndsNoLookUp(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	ring, _ := New(NewRedisNode("a", client))
	kek := testKEK()
	epoch := minute.EpochAt(time.Now())
	if err := mint(t, ring, kek, epoch); err != nil {
		t.Fatal(err)
	}
	opener := NewOpener(ring, kek, nil)
	keys, err := opener.Keys(t.Context(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Persist(t.Context(), partKey(epoch, partPublic)).Err(); err != nil {
		t.Fatal(err)
	}
	opener.ask(t.Context(), epoch)
	if !keys[0].Alive() {
		t.Error("a living key is taken for dead, as its entry has no expiry")
	}
}

// Who holds a lease that others hold elsewhere has none.
func TestTheLeaseIsThatOfMostNodes(t *testing.T) {
	t.Parallel()
	a, b, c := NewMemoryNode("a"), NewMemoryNode("b"), NewMemoryNode("c")
	give := func(n Node, to string) {
		if _, _, err := n.Lease(t.Context(), to, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	give(a, "x")
	give(b, "y")
	for _, test := range []struct {
		nodes []Node
		want  string
	}{{[]Node{a, b}, ""}, {[]Node{a, b, c}, "x"}} {
		ring, _ := New(test.nodes...)
		lease, err := ring.Lease(t.Context(), "x", time.Minute)
		if err != nil || lease.Holder != test.want {
			t.Errorf("of %d nodes: %+v, %v", len(test.nodes), lease, err)
		}
	}
}

// A probe tells nobody what a living frame is, and finds a key that is due and was
// not swept away.
func TestAProbeIsForTheDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := read(t, NewMemoryNode("a"))
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, r.ring, r.kek, epoch); err != nil {
			t.Fatal(err)
		}
		keys, err := r.Keys(t.Context(), epoch)
		if err != nil {
			t.Fatal(err)
		}
		w, err := seal.NewWriter(epoch, keys[0].ID, keys[0].Public.Key)
		if err != nil {
			t.Fatal(err)
		}
		frame := w.Seal(seal.ByAddress, 0, []byte("payload"))
		if holds, opens, err := r.Probe(time.Now(), &frame, w.Wrap().Encapsulated); holds || opens || err != ErrAlive { //nolint:errorlint // the very error
			t.Errorf("of a living epoch it says %v, %v, %v", holds, opens, err)
		}
		time.Sleep(time.Until(epoch.Deadline(minute.Window)))
		if holds, opens, err := r.Probe(time.Now(), &frame, w.Wrap().Encapsulated); !holds || !opens || err != nil {
			t.Errorf("of a dead epoch whose key is still there it says %v, %v, %v", holds, opens, err)
		}
		other := retention.Epoch{Policy: "other", Length: 1000}
		if holds, _, err := r.Probe(time.Now(), &seal.Frame{Place: seal.Place{Epoch: other}}, nil); holds || err != nil {
			t.Errorf("of an epoch without key it says %v, %v", holds, err)
		}
	})
}
