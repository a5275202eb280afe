package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/receiptstest"
	"mayfly/retention/receipts/witness"
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
			return cosign(t, filepath.Join(env.WorkDir, "good"), filepath.Join(env.WorkDir, "witnessed"))
		},
	})
}

// cosign copies a log, lets one of two witnesses cosign it, and leaves their keys in w1
// and w2 beside it.
func cosign(t *testing.T, log, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(log)); err != nil {
		return err
	}
	if err := os.Chmod(filepath.Join(dir, receipts.KeyFile), 0o600); err != nil {
		return err
	}
	l, err := receipts.Open(dir)
	if err != nil {
		return err
	}
	defer l.Close()
	here := receiptstest.NewWitness(t, "w1.example/witness", l.VerifierKey())
	away := receiptstest.NewWitness(t, "w2.example/witness", l.VerifierKey())
	away.Refuse(http.StatusServiceUnavailable)
	config := receipts.DefaultConfig()
	config.Quorum = 1
	for name, w := range map[string]*receiptstest.Witness{"w1": here, "w2": away} {
		config.Witnesses = append(config.Witnesses, receipts.Witness{Name: name, Key: w.Key, URL: w.URL})
		if err := os.WriteFile(filepath.Join(dir, "..", name), []byte(w.Key+"\n"), 0o600); err != nil {
			return err
		}
	}
	witnesses, err := witness.New(config, witness.Dependencies{Log: l, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	go func() { _ = witnesses.Run(ctx) }()
	for witnesses.Witnessed(time.Now()) != nil && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	return ctx.Err()
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
				Epoch: e, Deadline: deadline, At: deadline.Add(7 * time.Millisecond), Keys: []string{id}, KeyCount: 1, Nodes: 2,
				Tally: tallyOf(i, deadline),
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

// tallyOf is 100 events of an epoch; between those of the epochs 9 and 10 nobody has read 50 offsets.
func tallyOf(epoch int, deadline time.Time) *receipts.Tally {
	first := int64(100 * epoch)
	if epoch > 9 {
		first += 50
	}
	return &receipts.Tally{
		Counted: deadline, Stored: 100, Rejected: 1,
		Topics: []receipts.Topic{{
			ID: "0123456789abcdef0123456789abcdef", Name: "connections",
			Ranges: []receipts.OffsetRange{{Partition: 3, First: first, Last: first + 99}},
		}},
	}
}
