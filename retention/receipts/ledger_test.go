package receipts

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mayfly/retention"
)

// history is a log's entries by second: "10 policy 5/60" is one of length 5 s and
// window 60 s; "12 key 10", "75 purged 10", "75 never 15 x3", "80 removed".
func history(t *testing.T, lines ...string) *Log {
	t.Helper()
	l := open(t, t.TempDir())
	for _, line := range lines {
		var at, a, b int64
		var what string
		count := int64(1)
		fields := strings.Fields(line)
		_, err := fmt.Sscan(fields[0], &at)
		what = fields[1]
		if len(fields) > 2 {
			_, _ = fmt.Sscanf(fields[2], "%d/%d", &a, &b) // one number or two
		}
		if len(fields) > 3 && err == nil {
			_, err = fmt.Sscanf(fields[3], "x%d", &count)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		now := time.Unix(at, 0)
		e := retention.Epoch{Policy: "p", Start: a * 1000, Length: 5000}
		var entry Entry
		switch what {
		case "policy":
			p := retention.Policy{Name: "p", Epoch: time.Duration(a) * time.Second, Window: time.Duration(b) * time.Second}
			entry = NewPolicy(&p, now)
		case "removed":
			entry = &Removed{Name: "p"}
		case "key":
			entry = &Key{Epoch: e, Deadline: time.Unix(a+60, 0), ID: fmt.Sprintf("%016x", at), Shards: 1}
		case "purged":
			entry = &Purged{Epoch: e, Deadline: time.Unix(a+60, 0), At: time.Unix(a+60, 0), KeyCount: 1, Nodes: 1, Facts: Facts{Method: MethodSealed, Assurance: "2"}}
		case "never":
			entry = &NeverMinted{Epoch: e, Deadline: time.Unix(a+60, 0), Count: count, At: now}
		}
		entry.stamp(now)
		text, err := Marshal(entry)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if entry, err = Parse(text); err != nil {
			t.Fatal(err)
		}
		l.ledger.apply(entry)
	}
	return l
}

// owing writes debts as "10 15k", k where there is a key.
func owing(l *Log, at int64) string {
	var debts []string
	for _, d := range l.Owed(time.Unix(at, 0)) {
		s := fmt.Sprint(d.Epoch.Start / 1000)
		if len(d.Keys) > 0 {
			s += strings.Repeat("k", len(d.Keys))
		}
		if d.Epoch.Length != 5000 {
			s += fmt.Sprintf("+%d", d.Epoch.Length/1000)
		}
		debts = append(debts, s)
	}
	return strings.Join(debts, " ")
}

func TestOwed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		history []string
		at      int64
		want    string
	}{
		"nothing":                    {nil, 1000, ""},
		"nothing is due yet":         {[]string{"100 policy 5/60"}, 104, ""},
		"what lived at the start":    {[]string{"100 policy 5/60"}, 115, "45 50 55"},
		"keys":                       {[]string{"100 policy 5/60", "101 key 45", "102 key 45", "103 key 50"}, 110, "45kk 50k"},
		"settled ones are not owed":  {[]string{"100 policy 5/60", "101 key 45", "105 purged 45", "115 never 55"}, 120, "50 60"},
		"runs":                       {[]string{"100 policy 5/60", "150 never 45 x8"}, 150, "85 90"},
		"removed: begun ones remain": {[]string{"100 policy 5/60", "113 removed"}, 500, "45 50 55 60 65 70 75 80 85 90 95 100 105 110"},
		"a key without a policy":     {[]string{"100 key 45"}, 200, "45k"},
		"another window":             {[]string{"100 policy 5/60", "113 policy 5/10"}, 130, "45 50 55 60 65 70 115 120"},
		"another length":             {[]string{"100 policy 5/10", "107 policy 10/20"}, 120, "95 100 105 90+10 100+10"},
		"back again":                 {[]string{"100 policy 5/10", "107 removed", "112 policy 5/10"}, 126, "95 100 105 110 115"},
	} {
		if got := owing(history(t, test.history...), test.at); got != test.want {
			t.Errorf("%s: owed %q, want %q", name, got, test.want)
		}
	}
}

// A restart owes what the log owed.
func TestOwedAfterReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	now := time.Now()
	p := retention.Policy{Name: "p", Window: time.Minute, Epoch: 10 * time.Second}
	first := p.Live(now)[0]
	err := l.Record(t.Context(), NewPolicy(&p, now), &Key{Epoch: first, Deadline: first.Deadline(p.Window), ID: "0123456789abcdef", Shards: 3})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, l, 300)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	owed := l.Owed(first.Deadline(p.Window))
	if len(owed) != 1 || owed[0].Epoch != first || len(owed[0].Keys) != 1 || owed[0].Keys[0].Shards != 3 {
		t.Errorf("owed: %+v", owed)
	}
	if got := l.Policies()["p"]; !got.Same(NewPolicy(&p, now)) {
		t.Errorf("the policy is %+v", got)
	}
}

// What has ended lives no more, and nothing before it, whatever an earlier epoch still
// owes and however far behind the clock is.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	l := history(t, "100 policy 5/60", "101 key 45", "101 key 50", "101 key 55", "111 purged 50")
	for start, want := range map[int64]time.Time{45: {}, 50: {}, 55: time.Unix(115, 0), 60: time.Unix(120, 0)} {
		e := retention.Epoch{Policy: "p", Start: start * 1000, Length: 5000}
		deadline, living := l.Deadline(e, time.Unix(104, 0))
		if living != !want.IsZero() || !deadline.Equal(want) {
			t.Errorf("the epoch of %d may live until %v, %v; want %v", start, deadline, living, want)
		}
	}
}
