package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"mayfly/abuse"
	"mayfly/abuse/lookup"
	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/receipts"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// sharedLog is an IP log in which ada and bob share 192.0.2.1 at the time; what
// is known of the account "gap" has one.
type sharedLog struct{ at time.Time }

func (l sharedLog) Find(_ context.Context, q store.Query) (store.Answer, error) {
	answer := store.Answer{Complete: q.Account != "gap"}
	for i, name := range []string{"ada", "bob"} {
		ip, err := address.Parse("192.0.2.1")
		if err != nil {
			return store.Answer{}, err
		}
		first := uint16(1000 + 1000*i)
		r := record.Record{
			Time: l.at.UnixMilli(), Account: name, Address: ip, Event: "connect", Server: "web-1",
			Session: "s\x1b[31m", Ports: record.Ports{First: first, Last: first + 999, Known: true},
		}
		if q.Account == name || q.Prefix.Contains(ip.Reveal()) {
			answer.Records = append(answer.Records, r)
		}
	}
	return answer, nil
}

type noRetention struct{}

func (noRetention) Retention(context.Context) (abuse.RetentionStatus, error) {
	return abuse.RetentionStatus{}, nil
}

func startDesk(t *testing.T, at time.Time) string {
	t.Helper()
	written, err := receipts.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = written.Close() })
	policies := retention.Policies{{Name: "web", Window: time.Hour, Basis: "test"}}
	lookups, err := lookup.New(lookup.Config{Policies: policies}, lookup.Dependencies{Log: sharedLog{at}, Receipts: written})
	if err != nil {
		t.Fatal(err)
	}
	desk, err := abuse.New(abuse.DefaultConfig(), abuse.Dependencies{Lookups: lookups, Retention: noRetention{}, Gatherer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(desk.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// runLookup runs one command line with standard input in.
func runLookup(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	var cmd struct {
		Lookup LookupCmd `cmd:""`
	}
	parser, err := kong.New(&cmd, kong.Name("mayfly"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(append([]string{"lookup"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	stdin, l := strings.NewReader(in), &cmd.Lookup
	switch strings.Fields(parsed.Command())[1] {
	case "ip":
		err = l.IP.ask(t.Context(), stdin, &out, "IP address", l.IP.Subject, func(r *lookup.Request, s string) { r.IP = s })
	case "prefix":
		err = l.Prefix.ask(t.Context(), stdin, &out, "prefix", l.Prefix.Subject, func(r *lookup.Request, s string) { r.Prefix = s })
	case "account":
		err = l.Account.ask(t.Context(), stdin, &out, "account", l.Account.Subject, func(r *lookup.Request, s string) { r.Account = s })
	case "batch":
		err = l.Batch.ask(t.Context(), stdin, &out)
	}
	return out.String(), err
}

func TestLookupText(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Minute).Truncate(time.Second).UTC()
	desk, when := startDesk(t, at), at.Format(time.RFC3339)
	file := filepath.Join(t.TempDir(), "batch.csv")
	if err := os.WriteFile(file, []byte("ip,port,at\n192.0.2.1,1500,"+when+"\n192.0.2.1,,"+when+"\n192.0.2.9,,\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		in   string
		args []string
		want []string
	}{
		"found": {args: []string{"ip", "192.0.2.1", "--at", when, "--port", "1500"},
			want: []string{"TIME", at.Format("2006-01-02T15:04:05.000Z") + "  ada      192.0.2.1  1000-1999  connect  web-1", "s\ufffd[31m", "1 event of 1 account, the only one within ± 24h", "receipt "}},
		"ambiguous": {args: []string{"ip", "192.0.2.1", "--at", when},
			want: []string{"ambiguous: 2 accounts match, so none is named: add --port or lower --tolerance", "receipt "}},
		"nothing, from standard input": {in: "198.51.100.0/24\n", args: []string{"prefix", "-"}, want: []string{"nothing was found from ", "receipt "}},
		"account":                      {in: "bob", args: []string{"account", "-", "--policy", "web"}, want: []string{"bob", "1 event of 1 account\n"}},
		"purged":                       {args: []string{"account", "bob", "--from", "2026-01-01T00:00:00Z"}, want: []string{"purged: what policy web kept from before "}},
		"batch":                        {args: []string{"batch", file}, want: []string{"2     found      ada         1       unique within ± 24h", "3     ambiguous  2 accounts  0", "4     nothing", "3 lines, 0 not answered"}},
		"batch of JSON lines":          {in: `{"account":"bob"}`, args: []string{"batch", "-"}, want: []string{"1     found   bob      1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := runLookup(t, test.in, append(test.args, "--desk", desk, "--case", "ABUSE-17", "--reason", "spam")...)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range test.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			if strings.ContainsRune(got, '\x1b') {
				t.Error("a session's name steers the terminal")
			}
		})
	}
}

func TestLookupJSON(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(-time.Minute).Truncate(time.Second).UTC()
	got, err := runLookup(t, "", "account", "ada", "--desk", startDesk(t, at), "--case", "A-1", "--reason", "test", "--output", "json")
	if err != nil {
		t.Fatal(err)
	}
	var result lookup.Result
	if err := json.Unmarshal([]byte(got), &result); err != nil {
		t.Fatal(err)
	}
	want := []lookup.Event{{
		Time: at, Account: "ada", IP: "192.0.2.1", Port: new(uint16(1000)), PortEnd: new(uint16(1999)),
		Event: "connect", Server: "web-1", Session: "s\x1b[31m",
	}}
	if diff := cmp.Diff(want, result.Events); diff != "" || result.Receipt == "" {
		t.Error(diff)
	}
}

func TestLookupErrors(t *testing.T) {
	t.Parallel()
	desk := startDesk(t, time.Now())
	stranger := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/", http.StatusTemporaryRedirect))
	t.Cleanup(stranger.Close)
	for name, test := range map[string]struct {
		in   string
		args []string
		want string
		code int
	}{
		"incomplete":        {args: []string{"account", "gap"}, want: "incomplete", code: 3},
		"incomplete batch":  {in: "account\ngap\n", args: []string{"batch", "-"}, want: "incomplete", code: 3},
		"bad line of batch": {in: "ip\nx\n192.0.2.1\n", args: []string{"batch", "-"}, want: "1 line could not be answered"},
		"refused":           {args: []string{"ip", "nonsense"}, want: "ip: not an IPv4 or IPv6 address"},
		"no line":           {in: "\n", args: []string{"ip", "-"}, want: "one line"},
		"two lines":         {in: "192.0.2.1\n192.0.2.2\n", args: []string{"ip", "-"}, want: "mayfly lookup batch"},
		"address as case":   {args: []string{"ip", "192.0.2.1", "--case", "192-0-2-1"}, want: "--case: looks like an address"},
		"unknown reason":    {args: []string{"ip", "192.0.2.1", "--reason", "why"}, want: "--reason: must be one of abuse-report"},
		"no desk there":     {args: []string{"ip", "192.0.2.1", "--desk", "http://127.0.0.1:1"}, want: "--desk"},
		"no URL":            {args: []string{"ip", "192.0.2.1", "--desk", "localhost:8080"}, want: "--desk must be a URL"},
		"not a desk":        {args: []string{"ip", "192.0.2.1", "--desk", stranger.URL}, want: "307"},
		"no such file":      {args: []string{"batch", "/nonexistent"}, want: "reading the batch"},
		"too large":         {in: strings.Repeat("x", lookup.MaxBatchBytes+1), args: []string{"batch", "-"}, want: "split it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--desk", desk, "--case", "A-1", "--reason", "test"}, test.args[1:]...)
			out, err := runLookup(t, test.in, append(test.args[:1:1], args...)...)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want %s", err, test.want)
			}
			code := 1
			var chosen kong.ExitCoder
			if errors.As(err, &chosen) {
				code = chosen.ExitCode()
			}
			if want := max(test.code, 1); code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if test.code == 3 && !strings.Contains(out, "receipt ") {
				t.Errorf("printed %s", out)
			}
		})
	}
}

func TestReadSubject(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ kind, in, want string }{
		{"IP address", " 192.0.2.1 \r\n", "192.0.2.1"},
		{"account", " ada\n", " ada"}, // white space can be part of an account's name
		{"account", "ada\r\n", "ada"},
	} {
		if got, err := readSubject(strings.NewReader(test.in), test.kind); err != nil || got != test.want {
			t.Errorf("%s %q: got %q, %v", test.kind, test.in, got, err)
		}
	}
}
