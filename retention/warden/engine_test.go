package warden_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/keyring"
)

// stuck is a key-encryption key in an engine that answers nothing from a time on.
type stuck struct {
	keyring.KEK
	from time.Time
}

func (s stuck) wait() bool {
	if time.Now().Before(s.from) {
		return false
	}
	time.Sleep(10 * time.Second)
	return true
}

func (s stuck) Advance(now time.Time) error {
	if s.wait() {
		return context.DeadlineExceeded
	}
	return s.KEK.Advance(now)
}

func (s stuck) Wrap(deadline time.Time, secret, associated []byte) ([]byte, error) {
	if s.wait() {
		return nil, context.DeadlineExceeded
	}
	return s.KEK.Wrap(deadline, secret, associated)
}

// While the engine hangs no purge is done and no key minted; but the nodes destroy
// what is due in time, however much that is.
func TestAnEngineThatHangsSparesNoEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, func(p *post) {
			p.wrap = func(kek keyring.KEK) keyring.KEK { return stuck{kek, time.Now().Add(policy.Window - time.Second)} }
		})
		defer p.stop()
		born := time.Now()
		time.Sleep(policy.Window + 1500*time.Millisecond)
		for range 9 {
			for _, epoch := range policy.Epochs(born.Add(-policy.Window/2), time.Now().Add(-policy.Window-1500*time.Millisecond)) {
				if !p.ring.Purged(t.Context(), epoch) {
					t.Fatalf("epoch %v is not destroyed %v after its deadline", epoch, time.Since(epoch.Deadline(policy.Window)))
				}
			}
			if p.Ready() == nil || p.overdue(t) == 0 {
				t.Fatal("a key-encryption key that does not move on counts as done")
			}
			time.Sleep(policy.Epoch)
		}
	})
}
