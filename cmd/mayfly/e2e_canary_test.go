package main

import (
	"bytes"
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/canary"
)

// canarySystem is a system of short windows, with a desk that the warden asks.
func canarySystem(t *testing.T, kafka *kafkatest.Cluster, sealed bool) (s *e2eSystem, desk, warden *mayflytest.Process) {
	t.Helper()
	s = newE2E(t, kafka, 8*time.Second, "connections")
	s.Section("kafka")["sealed"] = sealed
	kafka.CreateTopic(t, s.topic(), 2, nil)
	key := filepath.Join(t.TempDir(), "canary.key")
	if err := canary.GenerateKey(key); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	s.Config["policies"] = []map[string]any{{"name": "all", "window": "8s", "epoch": "2s", "basis": "test"}}
	s.Config["canary"] = map[string]any{
		"ranges": []string{"203.0.113.0/24"}, "account_format": "user-%%%%%%%%%%", "key_file": key, "grace": "2s",
		"peers": []string{"http://" + address},
	}
	listen := s.Section("desk")
	listen["listen"] = address
	desk = s.Start(t, "desk")
	listen["listen"] = "127.0.0.1:0"
	s.Start(t, "ingest")
	return s, desk, s.Start(t, "warden")
}

// testCanary lets canaries live and die, and then keeps something of them.
func testCanary(t *testing.T, kafka *kafkatest.Cluster) {
	s, desk, warden := canarySystem(t, kafka, false)
	awaitCanaries(t, warden, 3)
	if found := warden.Metric("mayfly_canary_found_seconds_count"); found < 3 {
		t.Errorf("%v canaries were found", found)
	}
	if answer := desk.Look(t, lookup.Request{Prefix: "203.0.113.0/24"}); len(answer.Events) > 0 || answer.Accounts > 0 {
		t.Errorf("a handler is shown %d canaries", len(answer.Events))
	}
	for _, p := range []*mayflytest.Process{desk, warden} {
		if log := p.Log(); strings.Contains(log, "203.0.113.") || strings.Contains(log, "user-") {
			t.Error("a canary is in a log")
		}
	}

	t.Run("a node keeps a copy", func(t *testing.T) { s.keepCopies(t, warden) })
	t.Run("the key-encryption key is put back", func(t *testing.T) { s.putKEKBack(t, warden) })
}

// awaitCanaries waits until n canaries are dead, and nothing is left of them.
func awaitCanaries(t *testing.T, p *mayflytest.Process, n float64) {
	t.Helper()
	mayflytest.Eventually(t, "canaries are found, and gone at their deadline", func() bool {
		p.MustRun(t)
		return p.Metric(`mayfly_canary_probes_total{result="passed"}`) >= n
	}, func() { t.Log(p.Log()) })
	if n := p.Metric("mayfly_retention_canary_failures_total"); n != 0 {
		t.Errorf("%v canaries failed", n)
	}
}

// testSealedCanary lets canaries go through a topic on which plain events are refused,
// kills the warden that has sent them, and expects the next one to try them; and to
// read them back where an old key-encryption key is there.
func testSealedCanary(t *testing.T, kafka *kafkatest.Cluster) {
	s, desk, first := canarySystem(t, kafka, true)
	awaitCanaries(t, first, 1)
	mayflytest.Eventually(t, "more are under way", func() bool { return first.Metric("mayfly_canary_found_seconds_count") >= 3 })
	first.Kill()
	s.Config["canary"].(map[string]any)["every"] = "1h" // the next one sends none for now
	second := s.Start(t, "warden")
	awaitCanaries(t, second, 1)
	if sent := second.Metric("mayfly_canary_sent_total"); sent != 0 {
		t.Fatalf("the second warden has sent %v: which were taken up?", sent)
	}
	second.Kill()
	delete(s.Config["canary"].(map[string]any), "every")
	third := s.Start(t, "warden")
	s.putKEKBack(t, third)
	if answer := desk.Look(t, lookup.Request{Prefix: "203.0.113.0/24"}); len(answer.Events) > 0 {
		t.Errorf("a handler is shown %d canaries", len(answer.Events))
	}
	err := filepath.WalkDir(kafka.Folder(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, s.topic()) {
			return nil // Kafka is at work
		}
		content, err := os.ReadFile(path)
		if err == nil && (bytes.Contains(content, []byte("203.0.113.")) || bytes.Contains(content, []byte("user-"))) {
			t.Errorf("a canary is in Kafka's %s", filepath.Base(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// keepCopies gives a keyring node back what it held, until a prober sees it.
func (s *e2eSystem) keepCopies(t *testing.T, warden *mayflytest.Process) {
	node := s.Keys[0].Client(t)
	before := warden.Metric("mayfly_retention_canary_failures_total")
	copies := map[string]string{}
	mayflytest.Eventually(t, "the prober sees the copy", func() bool {
		for _, name := range node.Keys(t.Context(), "mayfly:key:private:*").Val() {
			if dump, err := node.Dump(t.Context(), name).Result(); err == nil && copies[name] == "" {
				copies[name] = dump
			}
		}
		for name, dump := range copies { // a living one is refused: its name is taken
			node.Restore(t.Context(), name, time.Minute, dump)
		}
		return warden.Metric("mayfly_retention_canary_failures_total") > before
	})
	warden.AwaitLog(t, `"failures":["entry"`)
	mayflytest.Eventually(t, "the level falls", func() bool { return warden.Metric("mayfly_assurance_level") == 0 })
	for name := range copies {
		node.Del(context.Background(), name)
	}
}

// putKEKBack writes an old state of the key-encryption key over the present one,
// again and again, as who keeps a backup of it could.
func (s *e2eSystem) putKEKBack(t *testing.T, warden *mayflytest.Process) {
	path := s.Section("keyring")["kek_file"].(string)
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// In place and as a whole, as the file's owners write it.
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
				_, _ = file.WriteAt(backup, 0)
			}
		}
	}()
	defer func() { close(done); <-stopped }()
	warden.AwaitLog(t, `"key","read"`)
	if !strings.Contains(warden.Log(), `"msg":"something of a canary outlived its deadline`) {
		t.Error("the log does not say so")
	}
}
