package audit

import (
	"fmt"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// A million entries of all types, most of them keys and purges.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	l, err := receipts.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const million = 1_000_000
	p := receipts.NewPolicy(&policy, time.Now())
	first := retention.Epoch{Policy: p.Name, Start: p.First, Length: p.Length.Milliseconds()}
	batch := []receipts.Entry{p}
	for i := 0; l.Size() < million; i++ {
		e := nth(first, i)
		batch = append(batch, key(e, i), purged(e, e.Deadline(policy.Window), fmt.Sprintf("%016x", i)),
			&receipts.Looked{ID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Lookup: receipts.Lookup{
				Case: fmt.Sprint("ABUSE-", i%1000), Reason: "spam", Subject: "prefix /24", Events: 3, From: e.StartTime(), To: e.EndTime(),
			}})
		if len(batch) > 20_000 {
			if err := l.Record(b.Context(), batch...); err != nil {
				b.Fatal(err)
			}
			batch = nil
		}
	}
	o := Options{Keys: []string{l.VerifierKey()}, To: time.UnixMilli(p.First).Add(million / 4 * policy.Epoch), Grace: time.Second}
	for b.Loop() {
		r, err := Verify([]string{dir}, o)
		if err != nil || r.Err() != nil || r.Entries < million {
			b.Fatalf("%v, %v", err, r.Err())
		}
	}
}
