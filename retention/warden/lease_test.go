package warden_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
	"mayfly/retention/receipts/receiptstest"
)

// cord is a node that a warden can be cut off from, as by a kill or a partition;
// or only from destroying there.
type cord struct {
	*keyring.MemoryNode
	cut, blunt, hoards atomic.Bool // hoards: keys never expire by themselves
}

var errCut = errors.New("connection reset by peer")

func (c *cord) Publish(ctx context.Context, e retention.Epoch, d time.Time, f keyring.Contents) error {
	if c.cut.Load() {
		return errCut
	}
	if c.hoards.Load() {
		d = d.Add(1000 * time.Hour)
	}
	return c.MemoryNode.Publish(ctx, e, d, f)
}

func (c *cord) Destroy(ctx context.Context, e retention.Epoch, keep time.Duration) error {
	if c.cut.Load() || c.blunt.Load() {
		return errCut
	}
	return c.MemoryNode.Destroy(ctx, e, keep)
}

func (c *cord) Lease(ctx context.Context, by string, span time.Duration) (string, time.Duration, error) {
	if c.cut.Load() {
		return "", 0, errCut
	}
	return c.MemoryNode.Lease(ctx, by, span)
}

// pair is an active warden and a standby at one keyring, each with its own log.
type pair struct {
	active, standby *post
	cords           [2]*cord
	dirs            []string
	keys            []string
}

func both(t *testing.T, dirs []string, change ...func(*post)) *pair {
	t.Helper()
	p := &pair{dirs: dirs}
	p.active, _ = written(t, dirs[0], append(change, func(post *post) {
		p.cords = [2]*cord{{MemoryNode: post.a}, {MemoryNode: post.b}}
		post.ring, _ = keyring.New(p.cords[0], p.cords[1])
	})...)
	synctest.Wait()
	time.Sleep(10 * time.Millisecond)
	p.standby, _ = written(t, dirs[1], func(post *post) {
		post.a, post.b, post.store = p.active.a, p.active.b, p.active.store
		post.ring, _ = keyring.New(post.a, post.b)
	})
	for _, post := range []*post{p.active, p.standby} {
		p.keys = append(p.keys, post.receipts.(*paper).VerifierKey())
	}
	return p
}

// audited merges both logs, as an auditor does.
func (p *pair) audited(t *testing.T) *audit.Result {
	t.Helper()
	r, err := audit.Verify(p.dirs, audit.Options{Keys: p.keys, To: time.Now(), Grace: receipts.Grace})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *pair) purges(t *testing.T) (n []int) {
	for _, dir := range p.dirs {
		n = append(n, strings.Count(receiptstest.Text(t, dir), `"type":"purged"`))
	}
	return n
}

func TestOfTwoWardensOneIsActive(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(2*policy.Window + time.Second)
		synctest.Wait()
		if !p.active.Active() || p.standby.Active() || p.standby.Holder() == "" || p.standby.Holder() != p.active.Holder() {
			t.Errorf("%q is active by the one, %q by the other", p.active.Holder(), p.standby.Holder())
		}
		if p.active.Ready() != nil || p.standby.Ready() != nil || p.standby.overdue(t) != 0 {
			t.Errorf("%v, %v, %v overdue", p.active.Ready(), p.standby.Ready(), p.standby.overdue(t))
		}
		p.standby.stop()
		p.active.stop()
		if diff := cmp.Diff([]int{20, 0}, p.purges(t)); diff != "" {
			t.Errorf("purges in each log (-want +got):\n%s", diff)
		}
		if err := p.audited(t).Err(); err != nil {
			t.Error(err)
		}
	})
}

// The active one is killed just before a deadline.
func TestAStandbyTakesOverWithinTheLease(t *testing.T) {
	t.Parallel()
	const lease = 5 * time.Second
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(2*policy.Window - time.Until(time.Now().Truncate(policy.Epoch)) - 5*time.Millisecond)
		killed := time.Now()
		for _, c := range p.cords {
			c.cut.Store(true)
		}
		p.active.stop() // it can't even give its lease back
		for !p.standby.Active() {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(killed); took > lease+100*time.Millisecond {
			t.Errorf("taken over after %v", took)
		}
		time.Sleep(3 * policy.Epoch)
		synctest.Wait()
		if due, living := p.standby.holding(); due != 0 || living != 10 || p.standby.Ready() != nil || p.standby.overdue(t) != 0 {
			t.Errorf("%d due epochs have keys, %d living ones; %v", due, living, p.standby.Ready())
		}
		p.standby.stop()
		r := p.audited(t)
		if found(r) != "" && found(r) != audit.Late || r.Policies[0].Missing != 0 {
			t.Errorf("the logs together: %v", r.Findings)
		}
		if r.Policies[0].Lag.Worst > audit.Millis((lease + time.Second).Milliseconds()) {
			t.Errorf("the worst was purged %v ms late", r.Policies[0].Lag.Worst)
		}
	})
}

// The active one has purged, and was killed before it could write that down.
func TestASuccessorWritesWhatItsPredecessorOwes(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(policy.Window - policy.Epoch)
		p.active.receipts.(*paper).out.Store(true)
		time.Sleep(4 * policy.Epoch)
		for _, c := range p.cords {
			c.cut.Store(true)
		}
		p.active.stop()
		if r := p.audited(t); !strings.Contains(found(r), audit.Unpurged) {
			t.Fatalf("nothing is owed: %s", found(r))
		}
		time.Sleep(5 * policy.Epoch)
		p.standby.stop()
		r := p.audited(t)
		if strings.Contains(found(r), audit.Unpurged) || strings.Contains(found(r), audit.Unnamed) || r.Policies[0].Missing != 0 {
			t.Errorf("after the take-over: %v", r.Findings)
		}
	})
}

// The active one has its lease, and can't destroy on one node.
func TestAStandbyPurgesWhatTheActiveOneCannot(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		p.cords[1].hoards.Store(true)
		time.Sleep(policy.Window + time.Second)
		p.cords[1].blunt.Store(true)
		time.Sleep(5 * policy.Epoch)
		synctest.Wait()
		if p.active.Ready() == nil {
			t.Error("a warden that can't purge is ready")
		}
		// What has been due for less than a lease is left to the active one.
		if due, _ := p.standby.holding(); due > 3 || p.standby.overdue(t) != 0 {
			t.Errorf("%d due epochs have keys", due)
		}
		p.standby.stop()
		p.active.stop()
	})
}

// The active one is lost with every key that it minted and with what was stored. The
// other has not announced them, but has seen them.
func TestASuccessorRemembersItsPredecessorsKeys(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(policy.Window + policy.Epoch/2)
		for _, c := range p.cords {
			c.cut.Store(true)
		}
		p.active.stop()
		lost := policy.Live(time.Now())
		p.standby.a.Lose()
		p.standby.b.Lose()
		for _, epoch := range lost {
			if err := p.standby.store.Memory.Unlink(t.Context(), epoch, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * policy.Epoch)
		synctest.Wait()
		for _, epoch := range policy.Live(time.Now()) {
			keys, err := p.standby.ring.Public(t.Context(), epoch)
			if err != nil || len(keys) != 1 {
				t.Fatalf("epoch %v has %d keys, %v", epoch, len(keys), err)
			}
			if was := slices.Contains(lost, epoch); keys[0].Successor != was {
				t.Errorf("epoch %v had a key: %v; the present one says %v", epoch, was, keys[0].Successor)
			}
		}
		p.standby.stop()
	})
}

// lags are the purges that a warden has measured, and the sum of their lags in seconds.
func (p *post) lags(t *testing.T) (count uint64, sum float64) {
	t.Helper()
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "mayfly_retention_purge_lag_seconds" {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), h.GetSampleSum()
		}
	}
	t.Fatal("no such histogram")
	return 0, 0
}

// A warden that comes back finds epochs in its log that its successor has purged: it
// sees that, and when its turn comes it settles its log, and takes none of them for late.
func TestWhoComesBackPurgesNothingTwice(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(policy.Window + 2*policy.Epoch)
		for _, c := range p.cords {
			c.cut.Store(true)
		}
		p.active.stop()
		if err := p.active.receipts.(*paper).Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * policy.Epoch)
		back, log := written(t, dirs[0], func(post *post) {
			post.a, post.b, post.store = p.active.a, p.active.b, p.active.store
			post.ring, _ = keyring.New(post.a, post.b)
		})
		time.Sleep(3 * policy.Window) // of which nothing that it owes is forgotten
		if back.Active() {
			t.Fatal("who comes back takes the lease away from who has it")
		}
		p.standby.stop() // gives its lease back
		time.Sleep(2 * policy.Epoch)
		synctest.Wait()
		if n, sum := back.lags(t); !back.Active() || n == 0 || sum > 1 {
			t.Errorf("%d purges, %v s late together", n, sum)
		}
		back.stop()
		if owed := log.Owed(time.Now()); len(owed) > 0 {
			t.Errorf("its log owes %d epochs", len(owed))
		}
		if r := p.audited(t); strings.Contains(found(r), audit.Contradiction) || r.Policies[0].Missing > 0 {
			t.Errorf("the logs together: %v", r.Findings)
		}
	})
}

// Both wardens were away while epochs came due, and the one that had minted their keys
// stands by now: what its log owes nobody else can write.
func TestAStandbyWritesWhatItsLogOwes(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(2 * policy.Window)
		p.active.stop()
		p.standby.stop()
		time.Sleep(policy.Window)
		p.standby.run(t)
		time.Sleep(time.Second)
		p.active.run(t)
		time.Sleep(policy.Window)
		synctest.Wait()
		if p.active.Active() || !p.standby.Active() {
			t.Fatal("the other one was to be active")
		}
		p.active.stop()
		p.standby.stop()
		// What came due while nobody ran is late.
		if r := p.audited(t); found(r) != audit.Late {
			t.Error(r.Findings)
		}
	})
}

// A standby takes an epoch for purged only where every node says so.
func TestAStandbyBelievesNoSilence(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		p := both(t, dirs)
		time.Sleep(policy.Window + time.Second)
		p.standby.b.Fail(errCut)
		time.Sleep(6*time.Second + 2*policy.Epoch) // a lease and more
		synctest.Wait()
		if p.standby.Ready() == nil || p.standby.overdue(t) == 0 {
			t.Errorf("a node is away, and %v, %v overdue", p.standby.Ready(), p.standby.overdue(t))
		}
		p.standby.b.Fail(nil)
		time.Sleep(2 * policy.Epoch)
		synctest.Wait()
		if p.standby.Ready() != nil || p.standby.overdue(t) != 0 {
			t.Errorf("it is back, and %v, %v overdue", p.standby.Ready(), p.standby.overdue(t))
		}
		p.standby.stop()
		p.active.stop()
	})
}
