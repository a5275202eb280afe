package store_test

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/store"
)

// The data and the keyring are lost together, and somebody who remembers mints
// anew: from then on nobody is told that all there was has been found, be it by
// the key or, where that is lost as well, by the directory.
func TestASuccessorIsNeverComplete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		records, batches := y.events(1, 200)
		y.write(t, batches)
		y.check(t, records, true)

		y.node.Lose()
		y.store = store.NewMemory()
		y.opener = keyring.NewOpener(y.ring, y.kek, zap.NewNop())
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		for _, epoch := range y.policy.Live(time.Now()) {
			_, err := y.ring.MintKnowing(t.Context(), epoch, epoch.Deadline(y.policy.Window), y.kek,
				func() bool { return true }, func() uint32 { return 3 },
				func(key keyring.Public) error { return y.store.Open(t.Context(), key) })
			if err != nil && !errors.Is(err, keyring.ErrDestroyed) {
				t.Fatal(err)
			}
		}
		y.check(t, nil, false)
		marked := y.store
		y.store = store.NewMemory() // the directory is lost again, moments later
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		y.check(t, nil, false)

		y.store = marked
		y.node.Lose() // and plain keys, by somebody who remembers nothing
		y.opener = keyring.NewOpener(y.ring, y.kek, zap.NewNop())
		y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
		y.mint(t)
		y.check(t, nil, false)
	})
}

// The directory in Redis keeps the mark beside the number of shards.
func TestTheDirectoryNamesSuccessors(t *testing.T) {
	t.Parallel()
	s := store.NewRedis(redistest.Start(t).Client(t))
	epoch := retention.Epoch{Policy: "p", Start: time.Now().UnixMilli() / 1000 * 1000, Length: 1000}
	key := keyring.Public{Epoch: epoch, Deadline: time.Now().Add(time.Hour), Shards: 7}
	for i, successor := range []bool{false, true, false} { // once said it stays
		key.ID[0], key.Successor = byte(i), successor
		if err := s.Open(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		d, err := s.Directories(t.Context(), []retention.Epoch{epoch})
		if err != nil || d[0].Successor != (i > 0) || d[0].Keys[key.ID] != 7 || d[0].Damaged {
			t.Fatalf("%+v, %v", d, err)
		}
	}
}

// What was purged under a shorter window is over, however long the window is now:
// that it has no key is no loss.
func TestPurgedEpochsOfALongerWindowAreNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		y.mint(t)
		living := y.policy.Live(time.Now())
		purged := living[len(living)/2]
		if err := y.ring.Destroy(t.Context(), purged, time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, epoch := range living {
			if epoch.Start <= purged.Start {
				if err := y.store.Unlink(t.Context(), epoch, nil); err != nil {
					t.Fatal(err)
				}
				_ = y.ring.Destroy(t.Context(), epoch, time.Hour)
			}
		}
		answer, err := y.reader.Find(t.Context(), store.Query{Prefix: netip.MustParsePrefix("198.51.100.0/24")})
		if err != nil || !answer.Complete {
			t.Fatalf("complete: %v, %v", answer.Complete, err)
		}
	})
}
