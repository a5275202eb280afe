package abuse

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mayfly/abuse/lookup"
	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/receiptstest"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// logFunc is an IP log.
type logFunc func(store.Query) (store.Answer, error)

func (f logFunc) Find(_ context.Context, q store.Query) (store.Answer, error) { return f(q) }

// holding is a log of one record, of canary-account at 203.0.113.99.
func holding(t *testing.T, complete bool) logFunc {
	t.Helper()
	ip, err := address.Parse("203.0.113.99")
	if err != nil {
		t.Fatal(err)
	}
	found := record.Record{Time: time.Now().Add(-time.Minute).UnixMilli(), Account: "canary-account", Address: ip, Event: "connect"}
	return func(q store.Query) (store.Answer, error) {
		if q.Account != "canary-account" && !q.Prefix.Contains(ip.Reveal()) {
			return store.Answer{Complete: complete}, nil
		}
		return store.Answer{Records: []record.Record{found}, Complete: complete}, nil
	}
}

type retentionFunc func() (RetentionStatus, error)

func (f retentionFunc) Retention(context.Context) (RetentionStatus, error) { return f() }

// rig is a desk with all its parts real but the IP log.
type rig struct {
	*httptest.Server
	receipts *receipts.Log
	dir      string
	logs     *observer.ObservedLogs
	registry *prometheus.Registry
}

func start(t *testing.T, log lookup.Log, change ...func(*Config, *Dependencies)) *rig {
	t.Helper()
	r := &rig{dir: t.TempDir(), registry: prometheus.NewRegistry()}
	var err error
	if r.receipts, err = receipts.Open(r.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.receipts.Close() })
	policies := retention.Policies{{Name: "web", Window: time.Hour, Basis: "test"}}
	lookups, err := lookup.New(lookup.Config{Policies: policies}, lookup.Dependencies{Log: log, Receipts: r.receipts})
	if err != nil {
		t.Fatal(err)
	}
	var core zapcore.Core
	core, r.logs = observer.New(zap.DebugLevel)
	c := DefaultConfig()
	d := Dependencies{
		Lookups: lookups, Gatherer: r.registry, Registerer: r.registry, Log: zap.New(core),
		Retention: retentionFunc(func() (RetentionStatus, error) {
			return RetentionStatus{Policies: []PolicyStatus{}}, nil
		}),
	}
	for _, f := range change {
		f(&c, &d)
	}
	desk, err := New(c, d)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewServer(desk.Handler())
	t.Cleanup(r.Close)
	return r
}

// answer is what came back of a request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (r *rig) send(t *testing.T, method, path, contentType, body string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}
	response, err := r.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(data)}
}

func (r *rig) look(t *testing.T, body string) answer {
	t.Helper()
	return r.send(t, "POST", "/v1/lookups", "application/json", body)
}

// logText is every log line with every field.
func (r *rig) logText(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, entry := range r.logs.All() {
		fields, err := json.Marshal(entry.ContextMap())
		if err != nil {
			t.Fatal(err)
		}
		text.WriteString(entry.Message + " " + string(fields) + "\n")
	}
	return text.String()
}

const asked = `{"ip":"203.0.113.99","case":"ABUSE-17","reason":"spam"}`

func TestLookup(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	got := r.look(t, asked)
	if got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%+v", got)
	}
	var result lookup.Result
	if err := json.Unmarshal([]byte(got.body), &result); err != nil {
		t.Fatal(err)
	}
	if len(result.Events) != 1 || result.Events[0].Account != "canary-account" || !result.Complete || result.Receipt == "" {
		t.Errorf("%s", got.body)
	}
	if written := receiptstest.Text(t, r.dir); !strings.Contains(written, result.Receipt) {
		t.Errorf("receipts hold %s", written)
	}
	if text := r.logText(t); !strings.Contains(text, result.Receipt) || !strings.Contains(text, `"case":"ABUSE-17"`) {
		t.Errorf("the access log says %s", text)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	for contentType, body := range map[string]string{
		"text/csv; charset=utf-8": "ip,port\n203.0.113.99,\nnonsense,\n192.0.2.1,7\n",
		"application/jsonl":       `{"ip":"203.0.113.99"}` + "\n{\n" + `{"ip":"192.0.2.1"}`,
		"application/x-ndjson":    `{"ip":"203.0.113.99"}` + "\n{\n" + `{"ip":"192.0.2.1"}`,
	} {
		got := r.send(t, "POST", "/v1/lookups/batch?case=B-1&reason=attack", contentType, body)
		var result lookup.BatchResult
		if err := json.Unmarshal([]byte(got.body), &result); err != nil || got.status != http.StatusOK {
			t.Fatalf("%s: %+v, %v", contentType, got, err)
		}
		if len(result.Results) != 3 || result.Failed != 1 || result.Results[1].Error == nil || len(result.Results[0].Result.Events) != 1 {
			t.Errorf("%s: %s", contentType, got.body)
		}
	}
	if written := receiptstest.Text(t, r.dir); strings.Count(written, "\n") != 3 {
		t.Errorf("receipts hold %s", written)
	}
}

// No look without a record: with the receipt log gone, a look-up is refused
// and tells nothing.
func TestNoReceiptNoAnswer(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	if err := r.receipts.Close(); err != nil {
		t.Fatal(err)
	}
	for _, got := range []answer{
		r.look(t, asked),
		r.send(t, "POST", "/v1/lookups/batch?case=B-1&reason=attack", "text/csv", "ip\n203.0.113.99\n"),
	} {
		if got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "canary") || strings.Contains(got.body, "events") {
			t.Errorf("%+v", got)
		}
		if !strings.Contains(got.body, "receipt") || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%+v does not say why", got)
		}
	}
}

func TestLogUnavailable(t *testing.T) {
	t.Parallel()
	r := start(t, logFunc(func(store.Query) (store.Answer, error) { return store.Answer{}, errors.New("store is down") }))
	if got := r.look(t, asked); got.status != http.StatusServiceUnavailable || strings.Contains(got.body, "store is down") {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(r.logText(t), "store is down") {
		t.Error("the operator is not told")
	}
}

// What the subject is stays out of logs, errors, receipts and metrics, whatever
// is wrong with the request.
func TestNothingOfTheSubjectLeaks(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	var said strings.Builder
	for _, body := range []string{
		`{"ip":"203.0.113.99%canary","case":"A","reason":"test"}`,
		`{"ip":"203.0.113.99","case":"203-0-113-99","reason":"test"}`,
		`{"ip":"203.0.113.99","case":"A","reason":"203.0.113.99"}`,
		`{"ip":"203.0.113.99","at":"203.0.113.99","case":"A","reason":"test"}`,
		`{"ip":"203.0.113.99","port":"203.0.113.99","case":"A","reason":"test"}`,
		`{"ip":{"203.0.113.99":1},"case":"A","reason":"test"}`,
		`{"203.0.113.99":1}`, `203.0.113.99`, `"canary-account"`, `{"ip":"203.0.113.99"`, `{"account":"canary-account"}`, ``,
		`{"ip":"203.0.113.99","x":"` + strings.Repeat("203.0.113.99 ", 2000) + `"}`,
	} {
		got := r.look(t, body)
		if got.status < 400 || got.status >= 500 || got.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.60s: %+v", body, got)
		}
		said.WriteString(got.body)
	}
	for _, request := range [][3]string{
		{"/v1/lookups/batch?case=203-0-113-99&reason=test", "text/csv", "ip\n203.0.113.99\n"},
		{"/v1/lookups/batch?case=A&reason=203.0.113.99", "text/csv", "ip\n203.0.113.99\n"},
		{"/v1/lookups/batch?case=A&reason=test", "text/csv", "203.0.113.99\n203.0.113.99\n"},
		{"/v1/lookups/batch?case=A&reason=test", "203.0.113.99", "203.0.113.99"},
		{"/v1/lookups/batch?case=A&reason=test", "text/csv", strings.Repeat("203.0.113.99\n", 100_000)},
		{"/v1/lookups/203.0.113.99", "", ""}, {"/203.0.113.99?ip=203.0.113.99", "", ""},
	} {
		got := r.send(t, "POST", request[0], request[1], request[2])
		if got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %+v", request[0], got)
		}
		said.WriteString(got.body)
	}
	for _, path := range []string{"/v1/lookups?ip=203.0.113.99", "/metrics"} {
		said.WriteString(r.send(t, "GET", path, "", "").body)
	}
	r.look(t, asked)
	said.WriteString(r.logText(t) + receiptstest.Text(t, r.dir))
	for _, secret := range []string{"203.0.113", "203-0-113", "canary"} {
		if at := strings.Index(said.String(), secret); at >= 0 {
			t.Errorf("%q leaked: …%s…", secret, said.String()[max(0, at-200):at+40])
		}
	}
}

func TestErrorNamesTheField(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	for body, want := range map[string]struct {
		status   int
		location string
	}{
		`{"ip":"nonsense","case":"A","reason":"test"}`:                {422, "body.ip"},
		`{"ip":"203.0.113.99","case":"A","reason":"curious"}`:         {422, "body.reason"},
		`{"ip":"203.0.113.99","reason":"test"}`:                       {422, "body.case"},
		`{"prefix":"198.18.0.0/8","case":"A","reason":"test"}`:        {422, "body.prefix"},
		`{"account":"a","ip":"192.0.2.1","case":"T","reason":"test"}`: {422, ""},
		`{`: {400, ""},
		`{"x":"` + strings.Repeat("x", maxRequestBytes) + `"}`: {413, ""},
	} {
		got := r.look(t, body)
		var problem struct {
			Title, Detail string
			Status        int
			Errors        []struct{ Location, Message string }
		}
		if err := json.Unmarshal([]byte(got.body), &problem); err != nil {
			t.Fatalf("%s: %v", got.body, err)
		}
		location := ""
		if len(problem.Errors) > 0 {
			location = problem.Errors[0].Location
		}
		if got.status != want.status || problem.Status != want.status || location != want.location || problem.Detail == "" || problem.Title == "" {
			t.Errorf("%.60s gave %d %s", body, got.status, got.body)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 7, 12, 0, 0, 0, time.UTC)
	want := RetentionStatus{Time: at, KeyringNodes: 3, Policies: []PolicyStatus{{
		Name: "web", Basis: "test", Window: 60, EpochLength: 1,
		Epochs: []EpochStatus{{
			Epoch: "web/1+1000", Start: at, End: at.Add(time.Second), Deadline: at.Add(time.Minute), State: EpochPurged, PurgeLag: new(int64(7)),
		}},
	}}}
	var down bool
	r := start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.Retention = retentionFunc(func() (RetentionStatus, error) {
			if down {
				return RetentionStatus{}, errors.New("no keyring")
			}
			return want, nil
		})
	})
	response := r.send(t, "GET", "/v1/retention", "", "")
	var got RetentionStatus
	if err := json.Unmarshal([]byte(response.body), &got); err != nil || response.status != 200 {
		t.Fatalf("%+v, %v", response, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(response.body, `"state":"purged","key_nodes":0,"purge_lag_ms":7`) {
		t.Errorf("%s", response.body)
	}
	down = true
	if response := r.send(t, "GET", "/v1/retention", "", ""); response.status != http.StatusServiceUnavailable {
		t.Errorf("%+v", response)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	kafka := errors.New("not a member of the group")
	r := start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.Ready = func() map[string]error { return map[string]error{"kafka": kafka, "redis": nil} }
	})
	if got := r.send(t, "GET", "/healthz", "", ""); got.status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	got := r.send(t, "GET", "/readyz", "", "")
	if got.status != http.StatusServiceUnavailable || strings.TrimSpace(got.body) != `{"ready":false,"not_ready":{"kafka":"not a member of the group"}}` {
		t.Errorf("%+v", got)
	}
	kafka = nil
	if got := r.send(t, "GET", "/readyz", "", ""); got.status != http.StatusOK || strings.TrimSpace(got.body) != `{"ready":true}` {
		t.Errorf("%+v", got)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, false))
	r.look(t, asked)
	r.look(t, `{}`)
	text := r.send(t, "GET", "/metrics", "", "").body
	for _, line := range []string{`mayfly_desk_lookups_total{result="incomplete"} 1`, `mayfly_desk_lookups_total{result="refused"} 1`, "mayfly_desk_lookup_duration_seconds_count 2"} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}
