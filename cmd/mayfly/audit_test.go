package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// TestAuditCommandLine runs what an auditor types, on logs of an hour of epochs.
func TestAuditCommandLine(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/audit",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			now := time.Now().Truncate(time.Minute)
			env.Setenv("TO", now.UTC().Format(time.RFC3339))
			env.Setenv("BEFORE", now.Add(-30*time.Minute).UTC().Format(time.RFC3339))
			for name, skip := range map[string]int{"good": -1, "gap": 17} {
				if err := writeHour(filepath.Join(env.WorkDir, name), now.Add(-2*time.Hour), skip); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// writeHour writes a log of the sixty epochs from start on; all but one are purged.
// Half way it leaves a copy of its checkpoint in kept.
func writeHour(dir string, start time.Time, skip int) error {
	l, err := receipts.Open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	first := retention.Epoch{Policy: "web", Start: start.UnixMilli(), Length: 60_000}
	err = l.Record(ctx, &receipts.Policy{Name: "web", Basis: "test", Window: time.Hour, Length: time.Minute, First: first.Start})
	for i := range 60 {
		e := first
		e.Start += int64(i) * e.Length
		id := fmt.Sprintf("%016x", i)
		deadline := e.Deadline(time.Hour)
		entries := []receipts.Entry{&receipts.Key{Epoch: e, Deadline: deadline, ID: id, Shards: 1}}
		if i != skip {
			entries = append(entries, &receipts.Purged{
				Epoch: e, Deadline: deadline, At: deadline.Add(7 * time.Millisecond), Keys: []string{id}, KeyCount: 1, Nodes: 2, Records: 100,
				Facts: receipts.Facts{Method: receipts.MethodSealed, Assurance: "2"},
			})
		}
		if err == nil {
			err = l.Record(ctx, entries...)
		}
		if i == 30 && err == nil {
			var checkpoint []byte
			checkpoint, err = os.ReadFile(filepath.Join(dir, "log", "checkpoint"))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, "kept"), checkpoint, 0o600)
			}
		}
	}
	if err != nil {
		return err
	}
	return l.Close()
}
