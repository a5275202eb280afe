// Package mayflytest runs mayfly's commands as processes, as an operator would start them, on
// real Redis servers and a Kafka. Only the tests of cmd/mayfly import it. Read mayflytest.go for what
// the processes share, process.go for one of them, and desk.go for what it is asked.
package mayflytest

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

// Patience is for what takes a second or two on a quiet machine.
const Patience = 60 * time.Second

// System is everything that mayfly works with: servers, a key-encryption key and a configuration.
type System struct {
	Kafka  *kafkatest.Cluster
	Data   *redistest.Server   // with an append-only file, so that a crash loses nothing
	Keys   []*redistest.Server // nodes of the keyring
	Folder string              // on tmpfs: the key-encryption key, receipts, configuration files
	Config map[string]any      // of the commands that are made from now on
	binary string
}

// New starts the Redis servers. What the configuration says of topics and policies is the test's.
func New(t testing.TB, binary string, kafka *kafkatest.Cluster) *System {
	t.Helper()
	s := &System{Kafka: kafka, Folder: tmpfs(t), Data: redistest.Start(t, "--appendonly", "yes"), binary: binary}
	var nodes []string
	for range 2 {
		server := redistest.Start(t, "--slowlog-max-len", "0")
		s.Keys, nodes = append(s.Keys, server), append(nodes, server.URL())
	}
	if err := keyring.GenerateKEK(s.KEK(), time.Now()); err != nil {
		t.Fatal(err)
	}
	s.Config = map[string]any{
		"kafka":   map[string]any{"brokers": kafka.Brokers(), "fetch_wait": "100ms"},
		"redis":   map[string]any{"addrs": []string{s.Data.Addr}},
		"keyring": map[string]any{"nodes": nodes, "kek_file": s.KEK()},
		"ingest":  map[string]any{"linger": "100ms", "commit_delay": "1s"},
		"desk":    map[string]any{"listen": "127.0.0.1:0", "receipts_dir": filepath.Join(s.Folder, "receipts")},
		"warden":  map[string]any{},
	}
	return s
}

// tmpfs is a folder in memory, where a key-encryption key belongs.
func tmpfs(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "mayfly-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// KEK is the file of the key-encryption key.
func (s *System) KEK() string { return filepath.Join(s.Folder, "kek") }

// Section is a part of the configuration, to be changed.
func (s *System) Section(name string) map[string]any { return s.Config[name].(map[string]any) }

// With is the same system under a configuration that differs.
func (s *System) With(change func(config map[string]any)) *System {
	other := *s
	other.Config = maps.Clone(s.Config)
	for name, section := range other.Config {
		if section, ok := section.(map[string]any); ok {
			other.Config[name] = maps.Clone(section)
		}
	}
	change(other.Config)
	return &other
}

// File writes the configuration, as it is now, into a file of its own.
func (s *System) File(t testing.TB) string {
	t.Helper()
	text, err := json.Marshal(s.Config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp(s.Folder, "mayfly-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(text)
	if err != nil || file.Close() != nil {
		t.Fatal("writing the configuration")
	}
	return file.Name()
}

// Command is one command with the system's configuration.
func (s *System) Command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.Command(s.binary, append(args, "--config", s.File(t))...)
	command.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10") // else it ends a second late under the race detector
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return command
}

// Eventually asks again until the answer is yes.
func Eventually(t testing.TB, what string, yes func() bool, explain ...func()) {
	t.Helper()
	for limit := time.Now().Add(Patience); !yes(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			for _, say := range explain {
				say()
			}
			t.Fatalf("never: %s", what)
		}
	}
}
