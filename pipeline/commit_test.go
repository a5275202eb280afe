package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/store"
)

var errAway = errors.New("the store is away")

// failures are the ways in which a call can fail.
var failures = map[string]func(context.Context, func() error) error{
	"not applied": func(context.Context, func() error) error { return errAway },
	"applied, the answer lost": func(_ context.Context, do func() error) error {
		return errors.Join(do(), errAway)
	},
}

func TestNothingIsCommittedBeforeItIsStored(t *testing.T) {
	t.Parallel()
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog(30)
				l.write(0, messages(0, 100)...)
				r := newRig(t, l, nil)
				r.warden(t)
				r.faults.append = failure
				if err := r.Ready(); !errors.Is(err, errNotStarted) {
					t.Errorf("before the start: %v", err)
				}
				r.start(t)
				time.Sleep(40 * time.Second)
				if err := r.Ready(); !errors.Is(err, errAway) || !strings.HasPrefix(err.Error(), "storing") {
					t.Errorf("ready says %v while the store is away", err)
				}
				if n := look(l, func() int { return len(l.commits) }); n != 0 {
					t.Fatalf("%d commits of what is not stored", n)
				}
				if n := r.observed.FilterMessage("ingest waits and tries again").Len(); n < 1 || n > 2 {
					t.Errorf("%d lines about 40 s of failure", n)
				}
				recovered := time.Now()
				r.faults.set(func(f *faults) { f.append = nil })
				time.Sleep(25 * time.Second)
				if err := r.Ready(); err != nil {
					t.Errorf("not ready again: %v", err)
				}
				r.expectFound(t, 100)
				commits, end := look(l, func() []time.Time { return l.commits }), l.committedTo(0)
				if end != 100 || len(commits) != 1 || commits[0].Sub(recovered) < r.config.CommitDelay {
					t.Errorf("%d commits up to offset %d", len(commits), end)
				}
				r.stop(t)
			})
		})
	}
}

// Commits follow storage by the delay, second by second.
func TestCommitsFollowStorageByTheirDelay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		l.write(0, message(0))
		r := ingesting(t, l)
		time.Sleep(r.config.Linger / 2) // so that each flush has one event
		for second := 1; second < 300; second++ {
			time.Sleep(time.Second)
			committed := l.committedTo(0)
			age := time.Duration(int64(second)-(committed-1)) * time.Second // of the last event that is committed
			if committed > 0 && age < r.config.CommitDelay {
				t.Fatalf("after %d s what was written %v ago is committed", second, age)
			} else if age > r.config.CommitDelay+4*time.Second {
				t.Fatalf("after %d s commits are %v behind", second, age)
			}
			l.write(0, message(second))
		}
		synctest.Wait() // what was written last has been handed over
		if n := len(r.current.positions.history); n > 20 {
			t.Errorf("%d positions are remembered after five minutes", n)
		}
		before := l.committedTo(0)
		r.stop(t)
		// A failover right after the drain may lose what was stored in the last
		// seconds, and nobody would be there to notice: the next process reads it again.
		if end := l.committedTo(0); end > before+2 {
			t.Errorf("the drain committed %d, ahead of the delay (%d before)", end, before)
		}
	})
}

func TestARefusedCommitIsMadeUpFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		l.refusal = errAway
		l.write(0, messages(0, 100)...)
		r := ingesting(t, l)
		time.Sleep(60 * time.Second)
		if n := r.observed.FilterMessage("offsets not committed: trying again").Len(); n != 2 {
			t.Errorf("%d lines about 50 s of refusals, want 2", n)
		}
		_ = look(l, func() error { l.refusal = nil; return nil })
		time.Sleep(2 * time.Second)
		if n := l.committedTo(0); n != 100 || l.rewinds != 0 {
			t.Errorf("committed %d, want 100; %d rewinds", n, l.rewinds)
		}
		r.stop(t)
	})
}

func TestAFailingDrainLeavesItsEventsUncommitted(t *testing.T) {
	t.Parallel()
	for name, failure := range failures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog(100)
				l.write(0, messages(0, 100)...)
				r := ingesting(t, l)
				time.Sleep(20 * time.Second)
				r.faults.set(func(f *faults) { f.append = failure })
				l.write(0, messages(100, 50)...)
				time.Sleep(3 * time.Second)
				begin := time.Now()
				r.stop(t)
				if took := time.Since(begin); took > 16*time.Second {
					t.Errorf("draining into a store that is away took %v", took)
				}
				r.expectCommitted(t, 100)
				r.faults.append = nil
				r.start(t) // as the next process would
				time.Sleep(15 * time.Second)
				r.expectFound(t, 150)
				r.stop(t)
				r.expectCommitted(t, 150)
			})
		})
	}
}

// lost says how servers can lose what they acknowledged, and what ingest logs about it.
var lost = map[string]struct {
	lose func(*rig)
	line string
}{
	"redis restarted": {
		func(r *rig) { r.faults.set(func(f *faults) { f.health.Identity = "another" }) },
		"redis was restarted or has failed over: reading the last events again",
	},
	"keyring lost": {
		func(r *rig) { r.node.Lose() },
		"an epoch key was lost before its deadline: reading the last events again",
	},
}

func TestWhatMayBeLostIsReadAgain(t *testing.T) {
	t.Parallel()
	for name, test := range lost {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLog(1000)
				l.write(0, messages(0, 100)...)
				r := ingesting(t, l)
				time.Sleep(5 * time.Second)
				for epoch := range r.policy.Live(time.Now()) { // the store has nothing any more
					_ = r.memory.Unlink(t.Context(), r.policy.Live(time.Now())[epoch], nil)
				}
				test.lose(r)
				l.write(0, message(100))
				time.Sleep(3 * time.Second)
				if n := look(l, func() int { return l.rewinds }); n != 1 {
					t.Fatalf("%d rewinds, want 1", n)
				}
				if n := r.observed.FilterMessage(test.line).Len(); n != 1 {
					t.Errorf("%d lines about it, want 1", n)
				}
				if n := look(l, func() int { return len(l.commits) }); n != 0 {
					t.Errorf("%d commits of what is lost", n)
				}
				time.Sleep(20 * time.Second)
				r.expectFound(t, 101)
				r.stop(t)
				r.expectCommitted(t, 101)
			})
		})
	}
}

// A Redis that is ahead deletes at once and answers as if it had stored.
func TestNothingIsCommittedWhileRedisIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1000)
		l.write(0, messages(0, 50)...)
		r := ingesting(t, l)
		time.Sleep(5 * time.Second)
		r.faults.set(func(f *faults) {
			f.health = store.Health{Identity: "first", Ahead: time.Hour}
			f.append = func(context.Context, func() error) error { return nil } // stored, and deleted
		})
		l.write(0, messages(50, 50)...)
		time.Sleep(30 * time.Second)
		if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "redis is 1h0m0s ahead of this machine") {
			t.Errorf("ready says %v", err)
		}
		if n := look(l, func() int { return len(l.commits) }); n != 0 {
			t.Fatalf("%d commits of what is deleted", n)
		}
		r.faults.set(func(f *faults) { f.health.Ahead, f.append = 0, nil })
		time.Sleep(20 * time.Second)
		r.expectFound(t, 100)
		r.stop(t)
		if n := l.committedTo(0); n != 100 || r.Ready() == nil {
			t.Errorf("committed %d, want 100; ready after the end: %v", n, r.Ready())
		}
	})
}

// An ingest host that is ahead takes living events for expired: none of that is
// committed, and all is read again once the clocks agree.
func TestNothingIsCommittedWhileThisMachineIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1000)
		l.write(0, messages(0, 50)...)
		r := ingesting(t, l)
		time.Sleep(5 * time.Second)
		r.faults.set(func(f *faults) { f.health = store.Health{Identity: "first", Behind: time.Hour} })
		time.Sleep(30 * time.Second)
		if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "this machine is 1h0m0s ahead of redis") {
			t.Errorf("ready says %v", err)
		}
		if n := look(l, func() int { return len(l.commits) }); n != 0 {
			t.Fatalf("%d commits", n)
		}
		r.faults.set(func(f *faults) { f.health.Behind = 0 })
		time.Sleep(20 * time.Second)
		if n := look(l, func() int { return l.rewinds }); n != 1 {
			t.Errorf("%d rewinds, want 1", n)
		}
		r.stop(t)
		r.expectCommitted(t, 50)
	})
}

// A clock within the skew is no reason to wait.
func TestASmallDifferenceOfClocksIsAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1000)
		l.write(0, messages(0, 50)...)
		r := newRig(t, l, nil)
		r.warden(t)
		r.faults.health.Ahead = r.config.Skew
		r.start(t)
		time.Sleep(20 * time.Second)
		r.expectCommitted(t, 50)
		r.stop(t)
	})
}

func TestAKeyThatIsLateIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1000)
		l.write(0, messages(0, 50)...)
		r := newRig(t, l, nil)
		r.start(t)
		time.Sleep(1900 * time.Millisecond)
		if n := r.observed.Len(); n != 0 {
			t.Errorf("%d lines within the two seconds that a key may take", n)
		}
		time.Sleep(90 * time.Second)
		if n := r.observed.FilterMessage("ingest waits and tries again").Len(); n < 1 || n > 4 {
			t.Errorf("%d lines about a minute and a half", n)
		}
		if err := r.Ready(); err == nil || !strings.HasPrefix(err.Error(), "sealing") {
			t.Errorf("ready says %v", err)
		}
		r.warden(t)
		time.Sleep(20 * time.Second)
		r.expectFound(t, 50)
		r.stop(t)
		r.expectCommitted(t, 50)
	})
}
