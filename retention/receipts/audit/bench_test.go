package audit

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// A million entries of all types, most of them keys and purges, each of these with
// the offsets of 8 partitions.
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
		end := purged(e, e.Deadline(policy.Window), fmt.Sprintf("%016x", i))
		end.Tally = held(e, end.At, 8)
		batch = append(batch, key(e, i), end,
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
	began := cpu(b)
	for b.Loop() {
		r, err := Verify([]string{dir}, o)
		if err != nil || r.Err() != nil || r.Entries < million {
			b.Fatalf("%v, %v", err, r.Err())
		}
	}
	b.ReportMetric((cpu(b)-began).Seconds()/float64(b.N), "cpu-s/op")
}

// cpu is the time that this process has taken, on all cores.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
