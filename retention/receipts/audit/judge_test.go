package audit

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

func hashOf(text string) []byte {
	h := tlog.RecordHash([]byte(text))
	return h[:]
}

// kinds lists findings as "late 2".
func kinds(r *Result) string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, fmt.Sprint(f.Kind, " ", f.Count))
	}
	return strings.Join(all, ", ")
}

func nth(first retention.Epoch, i int) retention.Epoch {
	first.Start += int64(i) * first.Length
	return first
}

func TestCompleteness(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		write func(a *author)
		want  string
	}{
		"one missing":             {func(a *author) { a.skip[7] = true; a.live(30) }, "unpurged 1"},
		"one never minted unsaid": {func(a *author) { a.skip[9] = true; a.live(30) }, "missing 1"},
		"a run missing":           {func(a *author) { a.skip[6], a.skip[7], a.skip[8] = true, true, true; a.live(30) }, "unpurged 3"},
		"two runs":                {func(a *author) { a.skip[6], a.skip[8] = true, true; a.live(30) }, "unpurged 1, unpurged 1"},
		"late": {func(a *author) {
			a.slow[3], a.slow[6] = 1100*time.Millisecond, time.Second-3*time.Millisecond
			a.live(30)
		}, "late 1"},
		"the warden stopped": {func(a *author) {
			a.record(receipts.NewPolicy(&policy, time.Now()))
			time.Sleep(time.Minute)
		}, "missing 29"},
		"a policy that is to owe nothing": {func(a *author) {
			p := receipts.NewPolicy(&policy, time.Now())
			p.First += 100 * 365 * 24 * time.Hour.Milliseconds()
			a.record(p)
			time.Sleep(time.Minute)
		}, "missing 18"},
		"down, then said so in one run, late": {func(a *author) {
			p := receipts.NewPolicy(&policy, time.Now())
			a.record(p)
			time.Sleep(time.Minute)
			first := retention.Epoch{Policy: p.Name, Start: p.First, Length: 2000}
			a.record(&receipts.NeverMinted{Epoch: first, Deadline: first.Deadline(policy.Window), Count: 39, At: time.Now(), Late: true})
		}, "late 29"},
		"purged twice": {func(a *author) {
			e := policy.EpochAt(time.Now())
			a.record(key(e, 0), purged(e, e.Deadline(policy.Window), "0000000000000000"))
			a.live(20)
		}, "contradiction 1, reused 1"},
		"never minted, but a key was logged": {func(a *author) {
			e := nth(policy.EpochAt(time.Now()), 4)
			a.record(key(e, 99))
			a.live(20)
		}, "contradiction 1, unpurged 1"},
		"a key that nobody announced": {func(a *author) {
			a.skip[2] = true
			e := nth(policy.EpochAt(time.Now()), 2)
			a.record(purged(e, e.Deadline(policy.Window), "0000000000000002", "00000000000000ff"))
			a.live(20)
		}, "reused 1, unannounced key 1"},
		"a key that no purge names": {func(a *author) {
			a.record(key(nth(policy.EpochAt(time.Now()), 2), 77))
			a.live(20)
		}, "unnamed key 1"},
		"a key that lives too long": {func(a *author) {
			k := key(nth(policy.EpochAt(time.Now()), 2), 2)
			k.Deadline = k.Deadline.Add(time.Millisecond)
			a.record(k)
			a.live(20)
		}, "outlives 1"},
		"a key that is never due by its own account": {func(a *author) {
			a.skip[2] = true
			k := key(nth(policy.EpochAt(time.Now()), 2), 2)
			k.Deadline = k.Deadline.AddDate(100, 0, 0)
			a.record(k)
			a.live(20)
		}, "outlives 1, unpurged 1"},
		"a key of no policy that is never due": {func(a *author) {
			e := policy.EpochAt(time.Now())
			e.Policy = "secret"
			k := key(e, 1)
			k.Deadline = k.Deadline.AddDate(100, 0, 0)
			a.record(k)
			a.live(20)
			time.Sleep(retention.MaxWindow) // what lived when the log ended is missing by now
		}, "missing 10, unexplained 1"},
		"a key of no policy": {func(a *author) {
			e := policy.EpochAt(time.Now())
			e.Policy = "secret"
			a.record(key(e, 1))
			a.live(20)
		}, "unexplained 1"},
		"no policy at all": {func(*author) { time.Sleep(time.Hour) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAuthor(t)
				start := time.Now()
				test.write(a)
				r, err := Verify([]string{a.dir}, a.options())
				if err != nil {
					t.Fatal(err)
				}
				if got := kinds(r); got != test.want {
					t.Fatalf("found %q, want %q", got, test.want)
				}
				if test.want != "" && (r.Err() == nil || !strings.Contains(r.Err().Error(), r.Findings[0].Epoch)) {
					t.Errorf("%v names no epoch", r.Err())
				}
				o := a.options()
				o.To = start
				if r, err := Verify([]string{a.dir}, o); err != nil || len(r.Findings) != 0 {
					t.Errorf("before anything was due: %s, %v", kinds(r), err)
				}
				o = a.options()
				o.From = o.To.Add(time.Hour)
				if r, err := Verify([]string{a.dir}, o); err != nil || len(r.Findings) != 0 {
					t.Errorf("after everything: %s, %v", kinds(r), err)
				}
			})
		})
	}
}

// Two wardens side by side: what one purges, the other may have seen nothing of.
func TestLogsAreMerged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, b := newAuthor(t), newAuthor(t)
		p, q := receipts.NewPolicy(&policy, time.Now()), receipts.NewPolicy(&policy, time.Now())
		a.record(p)
		b.record(q)
		first := retention.Epoch{Policy: p.Name, Start: p.First, Length: 2000}
		for i := range 20 {
			e := nth(first, i)
			minter, purger := a, b
			if i%2 == 0 {
				minter, purger = b, a
			}
			minter.record(key(e, i))
			purger.record(purged(e, e.Deadline(policy.Window), fmt.Sprintf("%016x", i)))
			minter.record(&receipts.NeverMinted{Epoch: nth(first, 20+i), Deadline: nth(first, 20+i).Deadline(policy.Window), Count: 1, At: e.StartTime()})
		}
		time.Sleep(policy.Window)
		o := a.options()
		o.Keys = append(o.Keys, b.VerifierKey())
		r, err := Verify([]string{a.dir, b.dir}, o)
		if err != nil || r.Err() != nil || r.Policies[0].Purged == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		o.Keys = o.Keys[:1]
		if r, err := Verify([]string{a.dir}, o); err != nil || r.Err() == nil {
			t.Errorf("one of two logs alone: %+v, %v", r, err)
		}
	})
}

// Terms that change hand over without a gap.
func TestChangedTerms(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthor(t)
		shorter := policy
		shorter.Window = 10 * time.Second
		other := policy
		other.Epoch = 5 * time.Second
		for _, p := range []retention.Policy{policy, shorter, other} {
			a.record(receipts.NewPolicy(&p, time.Now()))
			time.Sleep(31 * time.Second)
		}
		a.record(&receipts.Removed{Name: policy.Name})
		time.Sleep(time.Hour)
		for _, d := range a.Owed(time.Now()) {
			a.record(&receipts.NeverMinted{Epoch: d.Epoch, Deadline: d.Deadline, Count: 1, At: d.Deadline})
		}
		r, err := Verify([]string{a.dir}, a.options())
		if err != nil || r.Err() != nil || len(r.Removed) != 1 {
			t.Errorf("what the log owed by its own account is not what the verifier asks: %v, %v", r.Err(), err)
		}
		if n := r.Policies[0].Epochs; n < 40 || n != r.Policies[0].NeverMinted {
			t.Errorf("%+v", r.Policies[0])
		}
	})
}
