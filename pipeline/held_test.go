package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mayfly/retention"
	"mayfly/retention/record"
)

// olderAndNewer writes events of an epoch that has gone by, and then of the present one.
func olderAndNewer(r *rig, l *log) (older retention.Epoch) {
	older = r.policy.EpochAt(time.Now().Add(-3 * time.Minute))
	for i := range 20 {
		at := older.StartTime().Add(time.Second)
		l.writeAt(0, at, messageAt(i, at))
	}
	l.write(0, messages(20, 30)...)
	return older
}

// lackingAKey runs while the first 20 of 50 messages are of an epoch whose key is lost.
func lackingAKey(t *testing.T) (r *rig, l *log, older retention.Epoch) {
	t.Helper()
	l = newLog(100)
	r = newRig(t, l, nil)
	older = olderAndNewer(r, l)
	r.mint()
	r.node.Drop(older)
	r.start(t)
	return r, l, older
}

// Another warden's window is shorter: it has purged what this process takes to live.
func TestAnEpochThatWasPurgedEarlyHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		r := newRig(t, l, nil)
		r.warden(t)
		older := olderAndNewer(r, l)
		if err := r.ring.Destroy(t.Context(), older, time.Hour); err != nil {
			t.Fatal(err)
		}
		r.start(t)
		time.Sleep(20 * time.Second)
		if stored, purged, expired := r.count(resultStored), r.count(resultPurged), r.count(resultExpired); stored != 30 || purged != 20 || expired != 0 {
			t.Errorf("%d stored, %d purged, %d expired; want 30, 20, 0", stored, purged, expired)
		}
		if n := l.committedTo(0); n != 50 || r.Ready() != nil {
			t.Errorf("committed %d, %v", n, r.Ready())
		}
		r.stop(t)
	})
}

// It is purged between two batches: the key that the writer had is gone, and yet
// nothing is lost that would have to be read again.
func TestAnEpochThatIsPurgedWhileItIsWrittenIsNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		r := newRig(t, l, nil)
		r.warden(t)
		older := olderAndNewer(r, l)
		r.start(t)
		time.Sleep(5 * time.Second)
		if err := r.ring.Destroy(t.Context(), older, time.Hour); err != nil {
			t.Fatal(err)
		}
		olderAndNewer(r, l)
		time.Sleep(20 * time.Second)
		if stored, purged := r.count(resultStored), r.count(resultPurged); stored != 80 || purged != 20 || l.rewinds != 0 {
			t.Errorf("%d stored, %d purged, %d rewinds; want 80, 20, 0", stored, purged, l.rewinds)
		}
		r.stop(t)
	})
}

// An epoch's key is not there, and may come: the others are stored meanwhile,
// nothing is committed past what waits, and it is not lost.
func TestAnEpochWithoutKeyHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for name, comes := range map[string]bool{"it comes": true, "it never comes": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, l, older := lackingAKey(t)
				time.Sleep(20 * time.Second)
				if n := r.count(resultStored); n != 30 {
					t.Errorf("%d of 30 events are stored while another epoch has no key", n)
				}
				if n := look(l, func() int { return len(l.commits) }); n != 0 || r.Ready() == nil {
					t.Errorf("%d commits past what waits; %v", n, r.Ready())
				}
				if n := testutil.ToFloat64(r.metrics.waiting); n < float64(20*record.RowSize) {
					t.Errorf("%v bytes are accounted for with 20 events waiting", n)
				}
				want := map[string]int{resultStored: 50}
				if comes {
					r.mint()
					time.Sleep(20 * time.Second)
				} else {
					want = map[string]int{resultStored: 30, resultExpired: 20}
					time.Sleep(time.Until(older.Deadline(r.policy.Window)) + 20*time.Second)
				}
				for result, n := range want {
					if got := r.count(result); got != n {
						t.Errorf("%d %s, want %d", got, result, n)
					}
				}
				if n := l.committedTo(0); n != 50 || r.Ready() != nil {
					t.Errorf("committed %d of 50, %v", n, r.Ready())
				}
				r.stop(t)
			})
		})
	}
}

// What waits for its key when the assignment ends is read again.
func TestWhatIsHeldAtTheEndIsNotCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, l, _ := lackingAKey(t)
		time.Sleep(30 * time.Second)
		r.stop(t)
		if n := l.committedTo(0); n != 0 {
			t.Errorf("committed %d although the first 20 are not stored", n)
		}
		r.mint()
		r.start(t)
		time.Sleep(30 * time.Second)
		if n := len(r.found(t)); n != 50 {
			t.Errorf("%d of 50 found after the next start", n)
		}
		r.stop(t)
	})
}
