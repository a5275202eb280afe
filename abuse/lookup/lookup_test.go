package lookup

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/receiptstest"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// noon is now in every test; the window of 24 h began 24 h before.
var noon = time.Date(2026, 11, 7, 12, 0, 0, 0, time.UTC)

func policies() retention.Policies {
	return retention.Policies{
		{Name: "mail", Match: map[string][]string{"topic": {"mail"}}, Window: 6 * time.Hour, Basis: "test"},
		{Name: "web", Window: 24 * time.Hour, Basis: "test"},
	}
}

// sliceLog is a Log over records in time order.
type sliceLog struct {
	records    []record.Record
	incomplete bool
	err        error
	asked      []store.Query
}

func (l *sliceLog) Find(_ context.Context, q store.Query) (store.Answer, error) {
	l.asked = append(l.asked, q)
	if l.err != nil {
		return store.Answer{}, l.err
	}
	answer := store.Answer{Complete: !l.incomplete}
	for _, r := range l.records {
		t := time.UnixMilli(r.Time)
		subject := r.Account == q.Account
		if q.Account == "" {
			subject = q.Prefix.Contains(r.Address.Reveal())
		}
		if !subject || t.Before(q.From) || t.After(q.To) {
			continue
		}
		if q.Limit > 0 && len(answer.Records) == q.Limit {
			answer.Truncated = true
			break
		}
		answer.Records = append(answer.Records, r)
	}
	return answer, nil
}

// at is a time of the test day, "10:30" or "10:30:05".
func at(clock string) time.Time {
	layout := "15:04:05"[:len(clock)]
	t, err := time.Parse(layout, clock)
	if err != nil {
		panic(err)
	}
	return time.Date(2026, 11, 7, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// seen is one record: "10:00 connect ada 192.0.2.1 s=1 p=1000-1999 since=09:00".
func seen(text string) record.Record {
	words := strings.Fields(text)
	ip, err := address.Parse(words[3])
	if err != nil {
		panic(err)
	}
	r := record.Record{
		Time: at(words[0]).UnixMilli(), Event: words[1], Account: words[2], Address: ip,
		Server: "web-1", Outcome: "ok",
	}
	for _, word := range words[4:] {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "s":
			r.Session = value
		case "since":
			r.Since = at(value).UnixMilli()
		case "p":
			var ports [2]uint16
			if err := json.Unmarshal([]byte("["+strings.Replace(value, "-", ",", 1)+"]"), &ports); err != nil {
				panic(err)
			}
			r.Ports = record.Ports{First: ports[0], Last: max(ports[0], ports[1]), Known: true}
		}
	}
	return r
}

func logOf(lines ...string) *sliceLog {
	l := &sliceLog{}
	for _, line := range lines {
		l.records = append(l.records, seen(line))
	}
	slices.SortStableFunc(l.records, func(a, b record.Record) int { return int(a.Time - b.Time) })
	return l
}

// desk is look-ups over log, with real receipts in a folder of their own.
func desk(t *testing.T, log Log) (*Lookups, string) {
	t.Helper()
	dir := t.TempDir()
	written, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = written.Close() })
	l, err := New(Config{Policies: policies()}, Dependencies{Log: log, Receipts: written})
	if err != nil {
		t.Fatal(err)
	}
	return l, dir
}

// look asks with JSON, as a client does.
func look(t *testing.T, l *Lookups, question string) (Result, error) {
	t.Helper()
	r, err := DecodeRequest([]byte(question))
	if err != nil {
		return Result{}, err
	}
	if r.Case == "" {
		r.Case, r.Reason = "ABUSE-17", "test"
	}
	return l.Look(t.Context(), noon, r)
}

// told shortens an answer: "10:00 ada, 10:05 bob".
func told(r Result) string {
	var events []string
	for _, e := range r.Events {
		events = append(events, strings.TrimSuffix(e.Time.Format("15:04:05"), ":00")+" "+e.Account)
	}
	return strings.Join(events, ", ")
}

func TestResultJSON(t *testing.T) {
	t.Parallel()
	l, _ := desk(t, logOf("10:00 connect ada 192.0.2.1 s=7 p=1000-1999", "10:05 alive ada 192.0.2.1 since=10:00"))
	result, err := look(t, l, `{"ip":"192.0.2.1","from":"2026-11-07T09:00:00Z","to":"2026-11-07T12:00:00+01:00"}`)
	if err != nil {
		t.Fatal(err)
	}
	if result.Receipt == "" {
		t.Error("no receipt")
	}
	result.Receipt = "R"
	got, err := json.MarshalIndent(result, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/result.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(got)); diff != "" {
		t.Error(diff)
	}
}

// A look-up that can't be written down tells nothing.
func TestNoReceiptNoAnswer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	written, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := New(Config{Policies: policies()}, Dependencies{Log: logOf("10:00 connect ada 192.0.2.1"), Receipts: written})
	if err != nil {
		t.Fatal(err)
	}
	if err := written.Close(); err != nil {
		t.Fatal(err)
	}
	result, err := look(t, l, `{"ip":"192.0.2.1"}`)
	if !errors.Is(err, receipts.ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	if diff := cmp.Diff(Result{}, result, cmp.AllowUnexported(Result{})); diff != "" {
		t.Errorf("told without a receipt: %s", diff)
	}
	batch, err := l.LookBatch(t.Context(), noon, Batch{Case: "A", Reason: "test", Format: CSV, Body: []byte("ip\n192.0.2.1\n")})
	if !errors.Is(err, receipts.ErrClosed) || len(batch.Results) != 0 {
		t.Errorf("a batch told %+v, %v", batch, err)
	}
}

func TestLogFails(t *testing.T) {
	t.Parallel()
	down := errors.New("store is down")
	l, dir := desk(t, &sliceLog{err: down})
	if result, err := look(t, l, `{"account":"ada"}`); !errors.Is(err, down) || result.Events != nil {
		t.Errorf("told %+v, %v", result, err)
	}
	if receiptstest.Text(t, dir) != "" {
		t.Error("a receipt for nothing")
	}
}

func TestIncompleteIsSaid(t *testing.T) {
	t.Parallel()
	log := logOf()
	log.incomplete = true
	l, dir := desk(t, log)
	for _, q := range []string{`{"account":"ada"}`, `{"ip":"192.0.2.1","at":"2026-11-07T10:00:00Z"}`} {
		result, err := look(t, l, q)
		if err != nil || result.Complete || result.Events == nil {
			t.Errorf("%s: told %+v, %v", q, result, err)
		}
	}
	if text := receiptstest.Text(t, dir); strings.Count(text, `"complete":false`) != 2 {
		t.Errorf("receipts say %s", text)
	}
}

// The subject, the accounts and the addresses that were found stay out of
// receipts and errors.
func TestNothingOfTheSubjectIsKept(t *testing.T) {
	t.Parallel()
	l, dir := desk(t, logOf("10:00 connect canary-account 203.0.113.99 s=canary-session", "10:00 connect canary-account 2001:db8:77::1"))
	var said strings.Builder
	for _, q := range []string{
		`{"ip":"203.0.113.99"}`, `{"ip":"2001:db8:77::1"}`, `{"prefix":"203.0.113.0/24","port":7}`, `{"account":"canary-account"}`,
		`{"ip":"203.0.113.99","at":"2026-11-07T10:00:00Z"}`, `{"ip":"203.0.113.99%canary"}`, `{"ip":"203.0.113.99/24"}`,
		`{"prefix":"203.0.113.99"}`, `{"prefix":"203.0.0.0/8"}`, `{"ip":"203.0.113.99","at":"203.0.113.99"}`,
		`{"ip":"203.0.113.99","tolerance":"203.0.113.99"}`, `{"ip":["203.0.113.99"]}`, `{"203.0.113.99":1}`, `203.0.113.99`,
		`{"ip":"203.0.113.99","case":"203-0-113-99","reason":"test"}`, `{"ip":"203.0.113.99","case":"A","reason":"203.0.113.99"}`,
		`{"ip":"203.0.113.99","policies":["203.0.113.99"]}`, `{"account":"canary-account","case":"x-canary-account","reason":"test"}`,
		`{"ip":"203.0.113.99","port":"203.0.113.99"}`, `{"account":"canary","case":"x-Canary","reason":"test"}`,
	} {
		if _, err := look(t, l, q); err != nil {
			said.WriteString(err.Error() + "\n")
		}
	}
	said.WriteString(receiptstest.Text(t, dir))
	if n := strings.Count(said.String(), `"type":"lookup"`); n != 5 {
		t.Errorf("%d receipts, want 5", n)
	}
	for _, secret := range []string{"203.0.113", "203-0-113", "2001:db8", "canary", "Canary"} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("%q was kept in:\n%s", secret, said.String())
		}
	}
}
