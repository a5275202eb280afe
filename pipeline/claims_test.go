package pipeline

import (
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/keyring"
	"mayfly/retention/store"
)

// claimed is how many records writers claim to have stored.
func (r *rig) claimed(t *testing.T) (n uint64) {
	t.Helper()
	for _, epoch := range r.policy.Live(time.Now()) {
		records, err := r.reader.Records(t.Context(), epoch)
		if err != nil && !errors.Is(err, keyring.ErrNoKey) && !errors.Is(err, keyring.ErrDestroyed) {
			t.Fatal(err)
		}
		n += records
	}
	return n
}

func (r *rig) replace() {
	r.faults.set(func(f *faults) { f.health = store.Health{Identity: "another"} })
}

// After a failover a writer takes back its claim on what is read again, and on nothing
// else: of what was committed nobody would notice the loss any more.
func TestWhatWasCommittedStaysClaimed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 1))
			l := newLog(1000)
			l.write(0, message(0))
			r := newRig(t, l, func(c *Config) { c.Linger = 50 * time.Millisecond })
			r.warden(t)
			r.start(t)
			const events = 40
			for i := range events { // of three epochs
				l.write(0, messageAt(i, time.Now().Add(-time.Duration(draw.IntN(3))*r.policy.Epoch)))
				time.Sleep(time.Duration(draw.IntN(200)) * time.Millisecond)
			}
			time.Sleep(r.config.CommitDelay - time.Duration(draw.IntN(3000))*time.Millisecond)
			r.replace()
			time.Sleep(2 * r.config.CommitDelay)
			if n := r.claimed(t); n <= events {
				t.Errorf("seed %d: of %d events and one, all of them committed, %d are claimed", seed, events, n)
			}
			r.stop(t)
		})
	}
}

// A commit whose answer was lost is one all the same.
func TestWhatKafkaHasCommittedStaysClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1000)
		l.write(0, messages(0, 100)...)
		l.deaf = true
		r := ingesting(t, l)
		time.Sleep(2 * r.config.CommitDelay)
		if n := l.committedTo(0); n != 100 {
			t.Fatalf("%d events are committed", n)
		}
		r.replace()
		time.Sleep(2 * time.Second)
		_ = look(l, func() error { l.deaf = false; return nil })
		l.write(0, message(100))
		time.Sleep(2 * r.config.CommitDelay)
		if n := r.claimed(t); n < 101 {
			t.Errorf("of 101 events, all of them committed, %d are claimed", n)
		}
		r.stop(t)
	})
}

// Two failovers, one soon after the other: what the first may have lost is not stored
// again before the second, and stays missing until it is.
func TestASecondFailoverForgetsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(10)
		l.write(0, messages(0, 100)...)
		r := ingesting(t, l)
		time.Sleep(3 * time.Second)
		l.hide(50) // the broker that has the rest is away
		r.replace()
		time.Sleep(3 * time.Second)
		r.faults.set(func(f *faults) { f.health.Identity = "a third" })
		time.Sleep(2 * r.config.CommitDelay)
		if n := l.committedTo(0); n != 50 {
			t.Fatalf("%d events are committed", n)
		}
		if n := r.claimed(t); n < 100 {
			t.Errorf("of 100 events, half of which may be lost, %d are claimed", n)
		}
		l.hide(0)
		time.Sleep(2 * r.config.CommitDelay)
		if n := r.claimed(t); n != 100 {
			t.Errorf("of 100 events, stored again, %d are claimed", n)
		}
		r.stop(t)
	})
}
