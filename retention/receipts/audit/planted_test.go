package audit

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// A log says what became of canaries and of an auditor's connections.
func TestPlantedAndCanaries(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "log")
	l, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Minute)
	first := retention.Epoch{Policy: "web", Start: now.Add(-20 * time.Minute).UnixMilli(), Length: 60_000}
	commitment := strings.Repeat("0f", 32)
	entries := []receipts.Entry{
		&receipts.Policy{Name: "web", Basis: "test", Window: 10 * time.Minute, Length: time.Minute, First: first.Start},
		&receipts.Planted{ID: "A", Commitment: commitment, Count: 5},
		&receipts.Planted{ID: "B", Commitment: commitment, Count: 6},
	}
	for i, id := range []string{"00", "01", "02"} {
		e := first
		e.Start += int64(i) * e.Length
		deadline := e.Deadline(10 * time.Minute)
		key := strings.Repeat(id, 8)
		entries = append(entries, &receipts.Key{Epoch: e, Deadline: deadline, ID: key, Shards: 1})
		if i != 1 {
			entries = append(entries, &receipts.Purged{
				Epoch: e, Deadline: deadline, At: deadline.Add(time.Duration(i) * time.Second), Late: i > 1, Keys: []string{key}, KeyCount: 1,
				Nodes: 2, Facts: receipts.Facts{Method: receipts.MethodSealed, Assurance: "2"},
			})
		}
		failures := [][]string{nil, nil, {receipts.FailureKey}}[i]
		entries = append(entries, &receipts.Canary{Epoch: e, Deadline: deadline, At: deadline, Found: int64(i) - 1, Unanswered: int64(i % 2), Failures: failures})
	}
	third := first
	third.Start += 3 * third.Length
	entries = append(entries, &receipts.NeverMinted{Epoch: third, Deadline: third.Deadline(10 * time.Minute), Count: 17, At: third.Deadline(10 * time.Minute)})
	if err := l.Record(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	key := l.VerifierKey()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Verify([]string{dir}, Options{Keys: []string{key}, To: now, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if _, count, ok := r.Planted(commitment); !ok || count != 5 {
		t.Errorf("the first commitment is to %d connections, %v", count, ok)
	}
	if _, _, ok := r.Planted(strings.Repeat("00", 32)); ok {
		t.Error("a commitment that nobody made")
	}
	if want := (CanaryResult{Passed: 1, Failed: 1, Unanswered: 1, Lost: 1}); r.Canaries != want {
		t.Errorf("canaries: %+v", r.Canaries)
	}
	survived := 0
	for _, f := range r.Findings {
		if f.Kind == Survived {
			survived++
		}
	}
	if survived != 1 {
		t.Errorf("%d findings of canaries: %v", survived, r.Findings)
	}
	for i, want := range []string{receipts.TypePurged, "", receipts.TypePurged, receipts.TypeNeverMinted, receipts.TypeNeverMinted} {
		ends, err := r.Ends(first.StartTime().Add(time.Duration(i)*time.Minute + 30*time.Second))
		if err != nil || len(ends) != 1 || ends[0].Kind != want {
			t.Errorf("epoch %d: %+v, %v", i, ends, err)
		}
		if i == 2 && ends[0].Lag != 2000 {
			t.Errorf("epoch %d: lag %v", i, ends[0].Lag)
		}
	}
	if _, err := r.Ends(first.StartTime(), "mail"); err == nil {
		t.Error("a policy that is not there has epochs")
	}
	if _, err := r.Ends(first.StartTime().Add(-time.Hour)); err == nil {
		t.Error("an epoch from before the policy")
	}
}
