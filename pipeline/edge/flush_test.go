package edge

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/keyring"
)

// keyless is a keyring that can lose its keys, or go away.
type keyless struct {
	Keys
	err error // nil: it is well; no test sets it while the sealer runs, but in a bubble's pauses
}

func (k *keyless) Public(ctx context.Context, epoch retention.Epoch) ([]keyring.Public, error) {
	if k.err != nil {
		return nil, k.err
	}
	return k.Keys.Public(ctx, epoch)
}

// Nothing is sealed to a key that the keyring has lost, as nobody would open it. A
// keyring that is away has not lost anything.
func TestNothingIsSealedToALostKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		keys := &keyless{Keys: r.ring}
		r.deps.Keys = keys
		r.mint(t)
		r.start(t)
		expect := func(name string, keyringSays, want error) {
			t.Helper()
			keys.err = keyringSays
			var d Delivery
			r.add(t, 0, 5, &d)
			if err := d.Wait(t.Context()); !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
		}
		away := errors.New("no route")
		expect("a key", nil, nil)
		expect("the keyring is away", away, nil)
		expect("the key is lost", keyring.ErrNoKey, ErrNoKey)
		expect("lost, and then the keyring is away", away, ErrNoKey)
		expect("there is one again", nil, nil)
		if err := r.stop(t); err != nil || len(r.topic.messages) != 3 || r.count(resultNoKey) != 10 {
			t.Errorf("%d messages, %d without a key, %v", len(r.topic.messages), r.count(resultNoKey), err)
		}
	})
}

// What waits for a key until its deadline has come is not sent, nor waits on.
func TestWhatIsDueWhileItWaitsIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.KeyWait = time.Minute })
		r.start(t)
		time.Sleep(30 * time.Second) // half of an epoch
		age := r.policy.Window - 40*time.Second
		epoch := r.policy.EpochAt(time.Now().Add(-age))
		deadline := epoch.Deadline(r.policy.Window)
		if left := time.Until(deadline); left <= 0 || left >= r.config.KeyWait {
			t.Fatalf("the deadline comes in %v", left)
		}
		var d Delivery
		if refusal, err := r.Add(t.Context(), numbered(1, time.Now().Add(-age)), &d); err != nil || refusal != event.Accepted {
			t.Fatal(refusal, err)
		}
		if err := d.Wait(t.Context()); !errors.Is(err, ErrExpired) || time.Since(deadline) > time.Second {
			t.Errorf("%v after the deadline: %v", time.Since(deadline), err)
		}
		if err := r.stop(t); err != nil || len(r.topic.messages) != 0 || r.count(resultLate) != 1 {
			t.Errorf("%d messages, %d too late, %v", len(r.topic.messages), r.count(resultLate), err)
		}
	})
}
