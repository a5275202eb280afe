package abuse

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/receiptstest"
)

type recordFunc func() error

func (f recordFunc) Record(context.Context, ...receipts.Entry) error { return f() }

// A commitment is a hash and a count, and is written down before it is confirmed.
func TestCommitments(t *testing.T) {
	t.Parallel()
	var log *receipts.Log
	r := start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.Commitments = recordFunc(func() error {
			return log.Record(t.Context(), &receipts.Planted{ID: "A", Commitment: strings.Repeat("0f", 32), Count: 20})
		})
	})
	log = r.receipts
	good := `{"commitment":"` + strings.Repeat("0f", 32) + `","count":20}`
	if a := r.send(t, http.MethodPost, "/v1/commitments", "application/json", good); a.status != http.StatusOK || !strings.Contains(a.body, `"receipt":"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if text := receiptstest.Text(t, r.dir); strings.Count(text, `"commitment":"0f0f`) != 1 {
		t.Errorf("the log has %s", text)
	}
	for _, bad := range []string{
		`{"commitment":"203.0.113.99","count":20}`, `{"commitment":"` + strings.Repeat("0F", 32) + `","count":20}`,
		`{"commitment":"` + strings.Repeat("0f", 32) + `","count":0}`, `{"commitment":"` + strings.Repeat("0f", 32) + `","count":"203.0.113.99"}`, `{}`,
	} {
		if a := r.send(t, http.MethodPost, "/v1/commitments", "application/json", bad); a.status/100 != 4 || strings.Contains(a.body, "203.0.113") {
			t.Errorf("%s: %d %s", bad, a.status, a.body)
		}
	}
	down := start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.Commitments = recordFunc(func() error { return errors.New("disk full") })
	})
	if a := down.send(t, http.MethodPost, "/v1/commitments", "application/json", good); a.status != http.StatusServiceUnavailable {
		t.Errorf("no receipt, and yet %d", a.status)
	}
}

// Whoever reaches the desk can't have the log, which is for good, grow as they like.
func TestCommitmentsAreBounded(t *testing.T) {
	t.Parallel()
	written := 0
	r := start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.Commitments = recordFunc(func() error { written++; return nil })
	})
	good := `{"commitment":"` + strings.Repeat("0f", 32) + `","count":20}`
	if a := r.send(t, http.MethodPost, "/v1/commitments", "application/json", good+strings.Repeat(" ", 1<<10)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("more than 1 kB: %d %s", a.status, a.body)
	}
	refused := 0
	for range mostCommitments + 10 {
		switch a := r.send(t, http.MethodPost, "/v1/commitments", "application/json", good); {
		case a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "864":
			refused++
		case a.status != http.StatusOK:
			t.Fatalf("%d %v %s", a.status, a.header, a.body)
		}
	}
	if written != mostCommitments || refused != 10 {
		t.Errorf("%d were written, %d refused", written, refused)
	}
}

// Without canaries, or auditors, there is nothing to ask.
func TestProbeIsServedWhereThereAreCanaries(t *testing.T) {
	t.Parallel()
	if a := start(t, holding(t, true)).send(t, http.MethodPost, ProbePath, "application/json", "{}"); a.status != http.StatusNotFound {
		t.Errorf("without canaries: %d", a.status)
	}
	with := start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.Probe = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	})
	if a := with.send(t, http.MethodPost, ProbePath, "application/json", "{}"); a.status != http.StatusForbidden {
		t.Errorf("with canaries: %d", a.status)
	}
}
