package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
	"mayfly/retention/receipts/audit"
)

const wardenLease = 3 * time.Second

// testWardens kills the active one of two wardens just before a deadline. The other
// takes over and purges what is due, in time; then the first comes back, and the second
// is killed. Both logs together account for every epoch, and nobody purges what was purged.
func testWardens(t *testing.T, kafka *kafkatest.Cluster) {
	const window = 6 * time.Second
	s := newE2E(t, kafka, window, "none")
	s.Config["policies"] = []map[string]any{{"name": "all", "window": window.String(), "epoch": "1s", "basis": "test"}}
	s.Config["warden"] = map[string]any{"shards": 1, "lease": wardenLease.String(), "sweep_rate": 1}
	hosts := []*e2eSystem{s.host(t), s.host(t)}
	first := hosts[0].Start(t, "warden")
	first.AwaitReady(t)
	second := hosts[1].Start(t, "warden")
	second.AwaitReady(t)
	mayflytest.Eventually(t, "epochs are purged", func() bool { return first.Metric("mayfly_retention_purge_lag_seconds_count") >= 3 })
	if first.Metric("mayfly_warden_active") != 1 || second.Metric("mayfly_warden_active") != 0 {
		t.Fatal("the first warden is not the active one of the two")
	}

	s.killBeforeDeadline(t, window, first, second)
	back := hosts[0].Start(t, "warden")
	back.AwaitReady(t)
	if back.Metric("mayfly_warden_active") != 0 {
		t.Error("who comes back takes the lease away from who has it")
	}
	mayflytest.Eventually(t, "the second purges what it has minted", func() bool { return second.Metric("mayfly_retention_purge_lag_seconds_count") >= 8 })
	s.killBeforeDeadline(t, window, second, back)
	mayflytest.Eventually(t, "the third purges what it has minted", func() bool { return back.Metric("mayfly_retention_purge_lag_seconds_count") >= 8 })
	if err := back.Terminate(t); err != nil {
		t.Error(err)
	}

	purged := map[string]int{}
	for _, p := range []*mayflytest.Process{first, second, back} {
		for _, line := range regexp.MustCompile(`"msg":"epoch purged","epoch":"([^"]+)"`).FindAllStringSubmatch(p.Log(), -1) {
			purged[line[1]]++
		}
	}
	if len(purged) < 19 {
		t.Errorf("%d epochs were purged", len(purged))
	}
	for epoch, n := range purged {
		if n != 1 {
			t.Errorf("%s was purged %d times", epoch, n)
		}
	}
	auditWardens(t, hosts)
}

// host is the same system on another machine: a key-encryption key and receipts of its own.
func (s *e2eSystem) host(t *testing.T) *e2eSystem {
	t.Helper()
	dir := t.TempDir()
	state, err := os.ReadFile(s.KEK())
	if err != nil {
		t.Fatal(err)
	}
	kek := filepath.Join(dir, "kek")
	if err := os.WriteFile(kek, state, 0o600); err != nil {
		t.Fatal(err)
	}
	other := *s
	other.System = s.With(func(config map[string]any) {
		config["keyring"].(map[string]any)["kek_file"] = kek
		config["desk"].(map[string]any)["receipts_dir"] = filepath.Join(dir, "receipts")
	})
	return &other
}

// killBeforeDeadline kills the active warden within the second before an epoch is due, sees
// to it that nothing but a purge ends this epoch, and expects the standby to do so in time.
func (s *e2eSystem) killBeforeDeadline(t *testing.T, window time.Duration, active, standby *mayflytest.Process) {
	t.Helper()
	deadline := time.Now().Truncate(time.Second).Add(2 * time.Second)
	due := retention.Epoch{Policy: "all", Start: deadline.Add(-window).UnixMilli(), Length: 1000}
	time.Sleep(time.Until(deadline.Add(-900 * time.Millisecond)))
	active.Kill()
	killed := time.Now()
	s.persist(t, due)
	if n := s.left(t, due); n == 0 {
		t.Fatal("nothing is left of the epoch: a purge would prove nothing")
	}
	mayflytest.Eventually(t, "the standby is active", func() bool { return standby.Metric("mayfly_warden_active") == 1 })
	if took := time.Since(killed); took > 2*wardenLease {
		t.Errorf("taken over after %v", took)
	}
	mayflytest.Eventually(t, "the epoch is purged", func() bool { return s.left(t, due) == 0 })
	if late := time.Since(deadline); late > 2*wardenLease {
		t.Errorf("purged %v after its deadline", late)
	}
	standby.AwaitReady(t)
	if n := standby.Metric("mayfly_retention_overdue_epochs"); n != 0 {
		t.Errorf("%v epochs are overdue", n)
	}
}

// each visits what the servers have of an epoch.
func (s *e2eSystem) each(t *testing.T, epoch retention.Epoch, do func(server int, name string)) {
	t.Helper()
	for i, server := range append(s.Keys[:len(s.Keys):len(s.Keys)], s.Data) {
		names, err := server.Client(t).Keys(t.Context(), "mayfly:*"+epoch.String()+"*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			do(i, name)
		}
	}
}

func (s *e2eSystem) left(t *testing.T, epoch retention.Epoch) (n int) {
	t.Helper()
	s.each(t, epoch, func(int, string) { n++ })
	return n
}

// persist takes the expiry from all that there is of an epoch.
func (s *e2eSystem) persist(t *testing.T, epoch retention.Epoch) {
	t.Helper()
	s.each(t, epoch, func(server int, name string) {
		of := append(s.Keys[:len(s.Keys):len(s.Keys)], s.Data)[server]
		if err := of.Client(t).Persist(t.Context(), name).Err(); err != nil {
			t.Error(err)
		}
	})
}

// auditWardens judges the logs of both together.
func auditWardens(t *testing.T, hosts []*e2eSystem) {
	t.Helper()
	args, keys := []string{"audit", "verify"}, []string{"--output", "json", "--grace", (2 * wardenLease).String()}
	for _, host := range hosts {
		dir := filepath.Join(host.Section("desk")["receipts_dir"].(string), "warden")
		args, keys = append(args, dir), append(keys, "--key", filepath.Join(dir, "receipts.pub"))
	}
	out, err := exec.Command("mayfly", append(args, keys...)...).Output()
	var result audit.Result
	if json.Unmarshal(out, &result) != nil || len(result.Policies) != 1 {
		t.Fatalf("the audit says %v, %s", err, out)
	}
	p := result.Policies[0]
	if err != nil || result.Exceptions != 0 || p.Purged < 12 || p.Missing > 0 {
		t.Errorf("of %d epochs %d purged, %d never minted, %d missing, the worst %v late: %v, %v",
			p.Epochs, p.Purged, p.NeverMinted, p.Missing, p.Lag.Worst, result.Findings, err)
	}
	if p.NeverMinted > 0 {
		t.Errorf("%d epochs never minted", p.NeverMinted)
	}
	if strings.Contains(string(out), audit.Contradiction) {
		t.Error("a log says two things about an epoch's end")
	}
}
