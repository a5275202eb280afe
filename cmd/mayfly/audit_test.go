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

// The digest in receipts is of the configuration without its passwords.
func TestConfigDigest(t *testing.T) {
	t.Parallel()
	digest := func(change func(*Config)) string {
		c := defaultConfig()
		c.Keyring.Nodes = []string{"redis://user:secret@localhost:1/0"}
		change(&c)
		d, err := configDigest(c)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	same := digest(func(*Config) {})
	if got := digest(func(c *Config) { c.Keyring.Nodes[0] = "redis://user:another@localhost:1/0" }); got != same {
		t.Error("the digest tells passwords apart")
	}
	if got := digest(func(c *Config) { c.Warden.Shards++ }); got == same || len(got) != 64 {
		t.Errorf("another configuration has the digest %s", got)
	}
	if got := binaryDigest(); len(got) != 64 {
		t.Errorf("the program's digest is %q", got)
	}
}
