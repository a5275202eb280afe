package mayflytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"mayfly/abuse/lookup"
)

// Case is that of every look-up.
const Case = "TEST-1"

// Ask sends a look-up to the desk; status 0 where there is no answer at all.
func (p *Process) Ask(request lookup.Request) (status int, body string) {
	request.Case, request.Reason, request.Limit = Case, "test", lookup.MaxLimit
	text, err := json.Marshal(request)
	if err != nil {
		return 0, ""
	}
	return p.do(http.MethodPost, "/v1/lookups", "application/json", text)
}

// Look is Ask where an answer is due.
func (p *Process) Look(t testing.TB, request lookup.Request) (result lookup.Result) {
	t.Helper()
	status, body := p.Ask(request)
	if status != http.StatusOK {
		t.Fatalf("the desk answers %d %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// LookWhole is Look where nothing may be missing.
func (p *Process) LookWhole(t testing.TB, request lookup.Request) lookup.Result {
	t.Helper()
	result := p.Look(t, request)
	if !result.Complete || result.Truncated {
		t.Errorf("complete: %v, truncated: %v", result.Complete, result.Truncated)
	}
	return result
}

// AwaitFound waits until a look-up finds all of n events, and expects no more.
func (p *Process) AwaitFound(t testing.TB, request lookup.Request, n int) (result lookup.Result) {
	t.Helper()
	var status int
	Eventually(t, fmt.Sprint(n, " events are found"), func() bool {
		time.Sleep(20 * time.Millisecond) // a look-up costs more than other questions
		var body string
		result = lookup.Result{}
		status, body = p.Ask(request)
		return status == http.StatusOK && json.Unmarshal([]byte(body), &result) == nil && len(result.Events) >= n && result.Complete
	}, func() {
		t.Logf("the last look-up: status %d, %d found, complete: %v", status, len(result.Events), result.Complete)
	})
	if len(result.Events) != n {
		t.Errorf("%d events found, want %d", len(result.Events), n)
	}
	return result
}

// MustNotFind expects sound answers without an event.
func (p *Process) MustNotFind(t testing.TB, requests ...lookup.Request) {
	t.Helper()
	for _, request := range requests {
		if result := p.Look(t, request); len(result.Events) > 0 {
			t.Errorf("%d events found that nobody may know any more", len(result.Events))
		}
	}
}

// Post hands events to a relay, as lines, and gives its answer.
func (p *Process) Post(events ...[]byte) (status int, body string) {
	return p.do(http.MethodPost, "/v1/events", "application/x-ndjson", bytes.Join(events, []byte("\n")))
}
