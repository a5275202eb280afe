package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/canary/plant"
)

// auditor is somebody with a plan, the logs and their keys.
type auditor struct {
	s          *e2eSystem
	desk       *mayflytest.Process
	dir, plan  string
	logs, keys []string
}

// audit runs mayfly audit and gives what it printed on either side, and whether it exited with 0.
func (a *auditor) audit(t *testing.T, args ...string) (out, said string, ok bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("mayfly", append([]string{"audit"}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10", "MAYFLY_DESK_URL="+a.desk.URL)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	return stdout.String(), stderr.String(), err == nil
}

func (a *auditor) check(t *testing.T) (result checkResult, said string, ok bool) {
	t.Helper()
	args := []string{"check", a.plan, "--case", "AUDIT-7", "--output", "json"}
	for i := range a.logs {
		args = append(args, "--log", a.logs[i], "--key", a.keys[i])
	}
	out, said, ok := a.audit(t, args...)
	_ = json.Unmarshal([]byte(out), &result)
	return result, said, ok
}

// testPlanted plants, checks while they live, and again once they are gone.
func testPlanted(t *testing.T, kafka *kafkatest.Cluster) {
	s := newE2E(t, kafka, 0, "connections")
	s.Config["policies"] = []map[string]any{{"name": "all", "window": "10s", "epoch": "2s", "basis": "test"}}
	kafka.CreateTopic(t, s.topic(), 2, nil)
	p := s.Start(t, "run")
	p.AwaitReady(t)
	receipts := s.Section("desk")["receipts_dir"].(string)
	dir := t.TempDir()
	a := &auditor{
		s: s, desk: p, dir: dir, plan: filepath.Join(dir, "plan"),
		logs: []string{receipts}, keys: []string{filepath.Join(receipts, "receipts.pub")},
	}
	if _, said, ok := a.audit(t, "plant", a.plan, "--range", "203.0.113.0/24,2001:db8:9::/48", "--account-format", "user-########",
		"--count", "30", "--config", s.File(t)); !ok {
		t.Fatal(said)
	}
	var result checkResult
	var said string
	mayflytest.Eventually(t, "all are found", func() (ok bool) {
		p.MustRun(t)
		result, said, ok = a.check(t)
		return ok && result.Live == 30
	}, func() { t.Log(result, said) })
	a.printed(t)

	mayflytest.Eventually(t, "all are gone, and proved to be", func() (ok bool) {
		p.MustRun(t)
		result, said, ok = a.check(t)
		return ok && result.Gone == 30
	}, func() { t.Log(result, said) })
	if len(result.Epochs) == 0 || len(result.Receipts) != 1 || result.Committed.IsZero() {
		t.Errorf("%+v", result)
	}
	a.withoutCommitment(t)
	a.searches(t)
	if log := p.Log(); strings.Contains(log, "203.0.113.") || strings.Contains(log, "user-") {
		t.Error("a planted connection is in the log")
	}
}

// printed plants by hand: what is printed is an event that mayfly takes.
func (a *auditor) printed(t *testing.T) {
	plan := filepath.Join(a.dir, "printed")
	out, said, ok := a.audit(t, "plant", plan, "--range", "198.51.100.0/24", "--account-format", "p-########", "--count", "3", "--print")
	if !ok || strings.Count(out, "\n") != 3 {
		t.Fatal(said)
	}
	for line := range strings.Lines(out) {
		a.s.Kafka.Produce(t, a.s.topic(), kgo.NoCompression(), &kgo.Record{Value: []byte(strings.TrimSpace(line))})
	}
	printed := *a
	printed.plan = plan
	mayflytest.Eventually(t, "what was printed is found", func() bool {
		result, _, ok := printed.check(t)
		return ok && result.Live == 3
	})
}

// withoutCommitment checks a plan that nobody has committed to.
func (a *auditor) withoutCommitment(t *testing.T) {
	plan, err := plant.Read(a.plan)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(a.plan)
	if err != nil {
		t.Fatal(err)
	}
	forged := *a
	forged.plan = filepath.Join(a.dir, "forged")
	other := bytes.ReplaceAll(text, []byte(plan.Events[0].IP), []byte("203.0.113.255"))
	if err := os.WriteFile(forged.plan, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, said, ok := forged.check(t); ok || !strings.Contains(said, "changed since it was committed to") {
		t.Errorf("a plan that was changed: %s", said)
	}
}

// searches finds the planted connections in Kafka's own files alone.
func (a *auditor) searches(t *testing.T) {
	redis := a.s.Data.Client(t)
	dir := redis.ConfigGet(t.Context(), "dir").Val()["dir"]
	if err := redis.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	args := []string{"check", a.plan}
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			args = append(args, "--dump", path)
		}
		return nil
	})
	if len(args) < 6 {
		t.Fatalf("the data Redis has only %d files", len(args)/2-1)
	}
	if out, said, ok := a.audit(t, args...); !ok {
		t.Errorf("in the files of Redis: %s %s", out, said)
	}
	messages := filepath.Join(a.dir, "topic")
	if err := os.WriteFile(messages, a.messages(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, said, ok := a.audit(t, "check", a.plan, "--dump", messages); ok || !strings.Contains(out, "30 as text of") && !strings.Contains(out, "30 as text, ") {
		t.Errorf("in what was sent: %s %s", out, said)
	}
}

// messages are those that the topic still holds.
func (a *auditor) messages(t *testing.T) []byte {
	t.Helper()
	client := a.s.Kafka.Client(t, kgo.ConsumeTopics(a.s.topic()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var all []byte
	for n := 0; n < 30; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			all = append(append(all, r.Value...), '\n')
			n++
		})
	}
	return all
}
