package pipeline

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/pipeline/kafkain"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// Ingest catches up after an outage longer than the window: one event is still alive when it is read, and due when it is sealed.
func TestAnEventThatDiesWhileItWaitsBlocksNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		r := newRig(t, l, nil)
		r.warden(t)
		time.Sleep(30 * time.Second)
		oldest := r.policy.Live(time.Now())[0]
		time.Sleep(time.Until(oldest.Deadline(r.policy.Window)) - 500*time.Millisecond)
		at := oldest.StartTime().Add(time.Second)
		l.writeAt(0, at, messageAt(0, at))
		l.write(0, messages(1, 50)...)
		r.start(t)
		time.Sleep(10 * time.Minute)
		if n := r.count(resultStored); n != 50 {
			t.Errorf("ten minutes later %d of 50 living events are stored, %d committed", n, l.committedTo(0))
		}
	})
}

// The keyring is away for longer than the window.
func TestNothingWaitsInTheClearPastItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		l.write(0, messages(0, 50)...)
		r := newRig(t, l, nil)
		r.warden(t)
		r.node.Fail(errors.New("away"))
		r.start(t)
		time.Sleep(3 * r.policy.Window)
		synctest.Wait()
		n := 0
		for _, b := range r.current.gathered {
			for _, rows := range b.Rows {
				for i := range rows.All() {
					if rows.Record(i).Address.IsValid() && !b.Epoch.Deadline(r.policy.Window).After(time.Now()) {
						n++
					}
				}
			}
		}
		r.node.Fail(nil)
		if n > 0 {
			t.Errorf("%d addresses in the clear in memory, %v after their deadline", n, 2*r.policy.Window)
		}
	})
}

// A rolling restart, then a failover that loses the last second.
func TestAFailoverAfterADrainLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(1000)
		r := ingesting(t, l)
		l.write(0, messages(0, 50)...)
		time.Sleep(20 * time.Second)
		// What is stored from now on is not replicated.
		r.faults.set(func(f *faults) { f.append = func(context.Context, func() error) error { return nil } })
		l.write(0, messages(50, 50)...)
		time.Sleep(1500 * time.Millisecond)
		r.stop(t)
		r.faults.set(func(f *faults) { f.append, f.health = nil, store.Health{Identity: "the replica"} })
		r.start(t)
		time.Sleep(30 * time.Second)
		a, err := r.reader.Find(t.Context(), store.Query{Prefix: everySubject})
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Records) != 100 {
			t.Errorf("%d of 100 acknowledged events, complete: %v", len(a.Records), a.Complete)
		}
		r.stop(t)
	})
}

var everySubject = netip.MustParsePrefix("198.51.0.0/16")

// What has come due is erased, what lives is kept, both among what is being
// sealed and in the lanes.
func TestWipeErasesWhatIsDue(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_763_775_000, 0)
	batch := func(deadline time.Time) store.Batch {
		return store.Batch{Deadline: deadline, Rows: record.RowsOf([]record.Record{{Account: "ada"}})}
	}
	both := func() []store.Batch { return []store.Batch{batch(now), batch(now.Add(time.Second))} }
	waiting := &lane{slab: &slab{batches: both()}}
	g := &generation{gathered: both(), lanes: map[kafkain.Partition]*lane{{}: waiting}}
	g.wipe(now)
	for place, batches := range map[string][]store.Batch{"gathered": g.gathered, "lane": waiting.slab.batches} {
		due, living := batches[0].Rows[0].Record(0), batches[1].Rows[0].Record(0)
		if due.Account != "" || living.Account != "ada" {
			t.Errorf("%s: the due record is %q, the living one %q", place, due.Account, living.Account)
		}
	}
}
