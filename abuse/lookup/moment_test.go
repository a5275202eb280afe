package lookup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/receiptstest"
)

// Look-ups of a moment: which connections match, and whom they may name.
func TestMoment(t *testing.T) {
	t.Parallel()
	session := []string{"08:00 connect ada 192.0.2.1 s=1", "11:00 disconnect ada 192.0.2.1 s=1"}
	nat := []string{
		"10:00 connect ada 192.0.2.1 s=1 p=1000-1999", "10:30 disconnect ada 192.0.2.1 s=1 p=1000-1999",
		"10:00 connect bob 192.0.2.1 s=2 p=2000-2999", "10:40 disconnect bob 192.0.2.1 s=2 p=2000-2999",
	}
	for name, test := range map[string]struct {
		log       []string
		ask       string // JSON members besides at
		at        string
		want      string
		ambiguous int     // accounts, where none may be named
		unique    float64 // seconds
	}{
		"inside a session":            {log: session, at: "09:30", want: "08:00 ada, 11:00 ada", unique: 86400},
		"before it":                   {log: session, at: "07:58"},
		"before it, within tolerance": {log: session, at: "07:59:30", want: "08:00 ada, 11:00 ada", unique: 86400},
		"after it":                    {log: session, at: "11:02"},
		"after it, wide tolerance":    {log: session, ask: `"tolerance":"5m"`, at: "11:02", want: "08:00 ada, 11:00 ada", unique: 86400},
		"no tolerance, last instant":  {log: session, ask: `"tolerance":"0s"`, at: "11:00", want: "08:00 ada, 11:00 ada", unique: 86400},
		"another address":             {log: session, ask: `"ip":"192.0.2.2"`, at: "09:30"},

		"since, while connect was long before the window": {
			log: []string{"10:00 alive ada 192.0.2.1 s=1 since=02:00"}, at: "03:00", want: "10:00 ada", unique: 86400},
		"since of a session that moved here later": {
			log: []string{"09:00 connect ada 192.0.2.77 s=1", "10:00 alive ada 192.0.2.1 s=1 since=09:00"}, at: "09:30", want: "10:00 ada", unique: 86400},
		"since, but seen elsewhere after the moment": {
			log: []string{"09:00 connect ada 192.0.2.77 s=1", "09:40 alive ada 192.0.2.77 s=1 since=09:00", "10:00 alive ada 192.0.2.1 s=1 since=09:00"}, at: "09:30"},
		"another session was elsewhere": {
			log: []string{"09:40 alive ada 192.0.2.77 s=2 since=09:00", "10:00 alive ada 192.0.2.1 s=1 since=09:00"}, at: "09:30", want: "10:00 ada", unique: 86400},

		"no session id: connect to disconnect": {
			log: []string{"08:00 connect ada 192.0.2.1", "09:00 auth_ok ada 192.0.2.1", "11:00 disconnect ada 192.0.2.1"}, at: "10:00", want: "08:00 ada, 09:00 ada, 11:00 ada", unique: 86400},
		"no session id: after disconnect it is another one": {
			log: []string{"08:00 connect ada 192.0.2.1", "09:00 disconnect ada 192.0.2.1", "11:00 connect ada 192.0.2.1"}, at: "10:00"},
		"no session id: log-ins are instants": {
			log: []string{"08:00 auth_fail ada 192.0.2.1", "11:00 auth_ok ada 192.0.2.1"}, at: "10:00"},
		"no session id: other ports are other connections": {
			log: []string{"08:00 connect ada 192.0.2.1 p=1000", "11:00 alive ada 192.0.2.1 p=2000"}, at: "10:00"},
		"no session id: since of a later one does not reach back": {
			log: []string{"08:00 alive ada 192.0.2.1", "11:00 alive ada 192.0.2.1 since=10:30"}, at: "10:00"},
		"two sessions of one account": {
			log: append([]string{"09:00 connect ada 192.0.2.1 s=2", "10:00 disconnect ada 192.0.2.1 s=2"}, session...), at: "09:30",
			want: "08:00 ada, 09:00 ada, 10:00 ada, 11:00 ada", unique: 86400},
		"one session id of two accounts": {
			log: []string{"08:00 connect ada 192.0.2.1 s=1", "11:00 disconnect bob 192.0.2.1 s=1"}, at: "10:00"},

		"shared address":                         {log: nat, at: "10:15", ambiguous: 2},
		"shared address, prefix":                 {log: nat, ask: `"prefix":"192.0.2.0/24"`, at: "10:15", ambiguous: 2},
		"shared address, port":                   {log: nat, ask: `"port":1500`, at: "10:15", want: "10:00 ada, 10:30 ada", unique: 86400},
		"shared address, edge port":              {log: nat, ask: `"port":2000`, at: "10:15", want: "10:00 bob, 10:40 bob", unique: 86400},
		"shared address, free port":              {log: nat, ask: `"port":999`, at: "10:15"},
		"shared address, port 0":                 {log: nat, ask: `"port":0`, at: "10:15"},
		"shared address, only one is still here": {log: nat, at: "10:35", want: "10:00 bob, 10:40 bob", unique: 60},
		"shared address, smaller tolerance would do": {
			log: nat, ask: `"tolerance":"10m"`, at: "10:35", ambiguous: 2, unique: 60},
		"same second, same port": {
			log: []string{"10:00 auth_ok ada 192.0.2.1 p=1500", "10:00 auth_ok bob 192.0.2.1 p=1500"}, ask: `"port":1500`, at: "10:00", ambiguous: 2},
		"port handed on": {
			log: []string{"10:00 auth_ok ada 192.0.2.1 p=1500", "10:02 auth_ok bob 192.0.2.1 p=1500"}, ask: `"port":1500`, at: "10:00", want: "10:00 ada", unique: 60},
		"port handed on, wide tolerance": {
			log: []string{"10:00 auth_ok ada 192.0.2.1 p=1500", "10:02 auth_ok bob 192.0.2.1 p=1500"}, ask: `"port":1500,"tolerance":"5m"`, at: "10:00", ambiguous: 2, unique: 60},
		"unknown ports don't match": {
			log: []string{"10:00 connect bob 192.0.2.1 s=2"}, ask: `"port":1500`, at: "10:00"},
		"unknown port inside a session that has it": {
			log: []string{"10:00 connect ada 192.0.2.1 s=1 p=1500", "10:30 alive ada 192.0.2.1 s=1"}, ask: `"port":1500`, at: "10:20", want: "10:00 ada, 10:30 ada", unique: 86400},

		"an IPv6 /64 is one address": {
			log: []string{"10:00 connect ada 2001:db8::1", "10:20 alive ada 2001:db8::ffff:1"}, ask: `"ip":"2001:db8::2"`, at: "10:10", want: "10:00 ada, 10:20 ada", unique: 86400},
		"the next /64 is another": {
			log: []string{"10:00 connect ada 2001:db8:0:1::1"}, ask: `"ip":"2001:db8::1"`, at: "10:00"},
		"IPv4 in IPv6": {
			log: []string{"10:00 connect ada 192.0.2.1"}, ask: `"ip":"::ffff:192.0.2.1"`, at: "10:00", want: "10:00 ada", unique: 86400},
		"an account is never ambiguous": {
			log: append([]string{"10:00 connect ada 2001:db8::1"}, nat...), ask: `"account":"ada"`, at: "10:00", want: "10:00 ada, 10:00 ada, 10:30 ada"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := desk(t, logOf(test.log...))
			ask := test.ask
			if !strings.Contains(ask, `"ip"`) && !strings.Contains(ask, `"prefix"`) && !strings.Contains(ask, `"account"`) {
				ask = strings.TrimSuffix(`"ip":"192.0.2.1",`+ask, ",")
			}
			result, err := look(t, l, fmt.Sprintf(`{%s,"at":%q}`, ask, at(test.at).Format("2006-01-02T15:04:05Z07:00")))
			if err != nil {
				t.Fatal(err)
			}
			if got := told(result); got != test.want {
				t.Errorf("told %q, want %q", got, test.want)
			}
			if result.Ambiguous != (test.ambiguous > 0) || result.Ambiguous && result.Accounts != test.ambiguous {
				t.Errorf("ambiguous %v with %d accounts, want %d", result.Ambiguous, result.Accounts, test.ambiguous)
			}
			if result.UniqueWithin != test.unique {
				t.Errorf("unique within %v s, want %v", result.UniqueWithin, test.unique)
			}
			if !result.Complete || result.Truncated {
				t.Errorf("complete %v, truncated %v", result.Complete, result.Truncated)
			}
		})
	}
}

// A range that is a moment names nobody where at would not, whatever limit says.
func TestRangeThatIsAMoment(t *testing.T) {
	t.Parallel()
	log := logOf("10:00 connect ada 192.0.2.1 p=1000-1999", "10:00 connect bob 192.0.2.1 p=2000-2999",
		"10:00:01 alive ada 192.0.2.1 p=1000-1999", "10:00:02 alive ada 192.0.2.1 p=1000-1999")
	for ask, want := range map[string]string{
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:00Z","to":"2026-11-07T10:00:00Z"`:                "2 accounts",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:00Z","to":"2026-11-07T11:00:00+01:00","limit":1`: "2 accounts",
		`"prefix":"192.0.2.0/24","from":"2026-11-07T10:00:00Z","to":"2026-11-07T10:00:01Z"`:         "2 accounts",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:00Z","to":"2026-11-07T10:00:00Z","port":2500`:    "10:00 bob",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:01Z","to":"2026-11-07T10:00:02Z"`:                "10:00:01 ada, 10:00:02 ada",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:01Z","to":"2026-11-07T10:00:02Z","limit":1`:      "10:00:01 ada",
		`"account":"ada","from":"2026-11-07T10:00:00Z","to":"2026-11-07T10:00:00Z"`:                 "10:00 ada",
		`"ip":"192.0.2.1","from":"2026-11-07T10:00:00Z","to":"2026-11-07T10:00:01.001Z"`:            "10:00 ada, 10:00 bob, 10:00:01 ada",
	} {
		l, dir := desk(t, log)
		result, err := look(t, l, "{"+ask+"}")
		if err != nil {
			t.Fatal(err)
		}
		got := told(result)
		if result.Ambiguous {
			got = strings.TrimSpace(fmt.Sprintf("%d accounts %s", result.Accounts, got))
		}
		if got != want {
			t.Errorf("%s told %q, want %q", ask, got, want)
		}
		if text := receiptstest.Text(t, dir); result.Ambiguous != strings.Contains(text, `"ambiguous":true`) {
			t.Errorf("%s left %s", ask, text)
		}
	}
}

// A moment is never judged on a part of the records; and a look-up that was
// refused after the log was read has left its receipt, or is refused for want of one.
func TestMomentRefusesTooMuch(t *testing.T) {
	t.Parallel()
	l, dir := desk(t, logOf("08:00 connect ada 192.0.2.1 s=1", "09:00 alive ada 192.0.2.1 s=1", "10:00 alive ada 192.0.2.1 s=1"))
	l.most = 2
	for _, q := range []string{
		`{"ip":"192.0.2.1","at":"2026-11-07T08:00:00Z"}`, `{"ip":"192.0.2.1","port":7}`, `{"ip":"192.0.2.1","limit":2,"port":7}`,
	} {
		if result, err := look(t, l, q); !errors.Is(err, errTooMany) || result.Events != nil {
			t.Errorf("%s gave %v, %v", q, result, err)
		}
	}
	if text := receiptstest.Text(t, dir); strings.Count(text, `"complete":false,"events":2`) != 3 {
		t.Errorf("refused look-ups left %s", text)
	}
	batch, err := l.LookBatch(t.Context(), noon, Batch{Case: "A", Reason: "test", Format: CSV, Body: []byte("ip,port\n192.0.2.1,7\n")})
	if text := receiptstest.Text(t, dir); err != nil || batch.Failed != 1 || !strings.Contains(text, `"batch":1,"case":"A","complete":true,"events":2`) {
		t.Errorf("a batch gave %+v, %v and left %s", batch, err, text)
	}
	l.receipts = brokenReceipts{}
	if _, err := look(t, l, `{"ip":"192.0.2.1","port":7}`); !errors.Is(err, ErrNoReceipt) {
		t.Errorf("without a receipt it was refused with %v", err)
	}
}

// Whom a session was with before is not decided on a part of what its account did.
func TestDoubtThatIsTooLargeIsIncomplete(t *testing.T) {
	t.Parallel()
	l, _ := desk(t, logOf("09:10 alive ada 192.0.2.77 s=2", "09:20 alive ada 192.0.2.77 s=2", "09:40 alive ada 192.0.2.77 s=1",
		"10:00 alive ada 192.0.2.1 s=1 since=09:00"))
	l.most = 2
	result, err := look(t, l, `{"ip":"192.0.2.1","at":"2026-11-07T09:30:00Z"}`)
	if err != nil || result.Complete {
		t.Errorf("told %q, complete %v, %v", told(result), result.Complete, err)
	}
}

type brokenReceipts struct{}

func (brokenReceipts) Append(context.Context, receipts.Lookup) (string, error) {
	return "", errors.New("disk full")
}

func TestMomentLimit(t *testing.T) {
	t.Parallel()
	l, _ := desk(t, logOf("08:00 connect ada 192.0.2.1 s=1", "09:00 alive ada 192.0.2.1 s=1", "10:00 alive ada 192.0.2.1 s=1"))
	result, err := look(t, l, `{"ip":"192.0.2.1","at":"2026-11-07T09:30:00Z","limit":2}`)
	if err != nil || told(result) != "08:00 ada, 09:00 ada" || !result.Truncated {
		t.Errorf("told %q, truncated %v, %v", told(result), result.Truncated, err)
	}
}

// A busy shared address: 100,000 events of 1,000 accounts.
func BenchmarkMoment(b *testing.B) {
	log := &sliceLog{}
	for i := range 100_000 {
		r := seen("08:00 alive ada 192.0.2.1")
		r.Account = fmt.Sprint("account-", i%1000)
		r.Session = fmt.Sprint("session-", i%5000)
		r.Time += int64(i)
		log.records = append(log.records, r)
	}
	q := question{moment: true, at: at("08:01")}
	b.ReportAllocs()
	for b.Loop() {
		if len(connections(log.records, q)) != 5000 {
			b.Fatal("the connections changed")
		}
	}
}
