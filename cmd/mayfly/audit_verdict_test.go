package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/retention"
	"mayfly/retention/canary/form"
	"mayfly/retention/canary/plant"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
)

// TestCheckJudges holds one planted connection to answers and logs of every kind.
func TestCheckJudges(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		live    bool // its deadline has not come
		found   bool
		spoil   func(answer *lookup.Result)
		late    time.Duration // of the purge; negative: none
		planted bool
		want    []string
	}{
		"found while it lives":              {live: true, found: true, planted: true},
		"gone and proved":                   {planted: true},
		"missing while it lives":            {live: true, planted: true, want: []string{problemMissing}},
		"incomplete while it lives":         {live: true, found: true, planted: true, spoil: func(r *lookup.Result) { r.Complete = false }, want: []string{problemIncomplete}},
		"still found":                       {found: true, planted: true, want: []string{problemFound}},
		"a gap passes for a purge":          {planted: true, spoil: func(r *lookup.Result) { r.Complete = false }, want: []string{problemIncomplete}},
		"the desk is silent about purges":   {planted: true, spoil: func(r *lookup.Result) { r.Purged = nil }, want: []string{problemUnsaid}},
		"no purge in the log":               {planted: true, late: -1, want: []string{problemUnproved}},
		"a late purge":                      {planted: true, late: 5 * time.Second, want: []string{problemLate}},
		"nobody committed":                  {want: []string{problemUncommitted}},
		"still found, and nobody committed": {found: true, want: []string{problemFound, problemUncommitted}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := plantOne(t, time.Now())
				c := newCheck(e, logOf(t, e, test.live, test.late, test.planted), time.Second)
				answer := lookup.Result{Complete: true}
				if test.found {
					of := e.Events[0]
					answer.Events = []lookup.Event{{Account: of.Account, IP: of.IP, Port: &of.Port}}
				}
				if !test.live {
					answer.Purged = []lookup.Purged{{Policy: "web"}}
				}
				if test.spoil != nil {
					test.spoil(&answer)
				}
				c.events[0].answers = []lookup.LineResult{{Result: &answer}, {Result: &answer}}
				c.asked = time.Now()
				c.judge()
				var got []string
				for _, p := range c.result.Problems {
					got = append(got, p.Kind)
					if strings.Contains(p.String(), e.Events[0].IP) || problemTexts[p.Kind] == "" {
						t.Errorf("it says %s", p)
					}
				}
				if !slices.Equal(got, test.want) {
					t.Errorf("problems %v, want %v", got, test.want)
				}
				if ok := c.result.Live+c.result.Gone == 1; test.want == nil && !ok {
					t.Errorf("%+v", c.result)
				}
			})
		})
	}
}

// Connections of one epoch share its end: all of them are gone when that is in the
// logs, late or not, and none is before.
func TestCheckCountsWhatIsGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		late time.Duration // of the purge; negative: none
		gone int
		want []string
	}{
		"in time":    {gone: 3},
		"late":       {late: 5 * time.Second, gone: 3, want: []string{problemLate}},
		"no end yet": {late: -1, want: []string{problemUnproved}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan := plantSome(t, time.Now(), 3)
				c := newCheck(plan, logOf(t, plan, false, test.late, true), time.Second)
				for _, e := range c.events {
					answer := lookup.LineResult{Result: &lookup.Result{Complete: true, Purged: []lookup.Purged{{Policy: "web"}}}}
					e.answers = []lookup.LineResult{answer, answer}
				}
				c.asked = time.Now()
				c.judge()
				var got []string
				for _, p := range c.result.Problems {
					got = append(got, p.Kind)
				}
				if c.result.Gone != test.gone || !slices.Equal(got, test.want) {
					t.Errorf("%d are gone, want %d; problems %v, want %v", c.result.Gone, test.gone, got, test.want)
				}
			})
		})
	}
}

func plantOne(t *testing.T, at time.Time) *plant.Plan {
	t.Helper()
	return plantSome(t, at, 1)
}

func plantSome(t *testing.T, at time.Time, count int) *plant.Plan {
	t.Helper()
	f, err := form.New("user-########", []string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := plant.Draw(plant.Options{Seed: "s", Form: f, Count: count, Start: at})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// logOf is a log whose policy keeps things for ten minutes. Unless the connection
// is to live, more than that passes before the log is read.
func logOf(t *testing.T, plan *plant.Plan, live bool, late time.Duration, planted bool) *audit.Result {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "log")
	l, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	window := 10 * time.Minute
	p := retention.Policy{Name: "web", Window: window, Epoch: time.Minute}
	e := p.EpochAt(plan.Events[0].Time)
	deadline := e.Deadline(window)
	entries := []receipts.Entry{
		&receipts.Policy{Name: "web", Basis: "test", Window: window, Length: time.Minute, First: e.Start},
		&receipts.Key{Epoch: e, Deadline: deadline, ID: strings.Repeat("0", 16), Shards: 1},
	}
	if planted {
		entries = append(entries, &receipts.Planted{ID: "A", Commitment: plan.Commitment, Count: int64(len(plan.Events))})
	}
	if err := l.Record(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	if !live {
		time.Sleep(2 * window)
	}
	if !live && late >= 0 {
		err := l.Record(t.Context(), &receipts.Purged{
			Epoch: e, Deadline: deadline, At: deadline.Add(late), Late: late > receipts.Grace, Keys: []string{strings.Repeat("0", 16)}, KeyCount: 1,
			Nodes: 2, Facts: receipts.Facts{Method: receipts.MethodSealed, Assurance: "2"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	key := l.VerifierKey()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := audit.Verify([]string{dir}, audit.Options{Keys: []string{key}, To: time.Now(), Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
