package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	logwatch "go.uber.org/zap/zaptest/observer"
	"go.yaml.in/yaml/v4"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/cmd/mayfly/process"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/warden"
)

// patient is a system that the doctor looks at; sound unless a test changes it.
type patient struct {
	kafka *kafkatest.Cluster
	topic string
	data  string   // host:port
	nodes []string // URLs
	kek   string

	sealed bool // only sealed batches are taken
}

var soundTopic = map[string]string{"retention.ms": "3600000", "segment.ms": "900000", "message.timestamp.type": "LogAppendTime"}

func newPatient(t *testing.T, kafka *kafkatest.Cluster, topic map[string]string) *patient {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mayfly-test-")
	if err != nil {
		t.Skip("no tmpfs at /dev/shm")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &patient{kafka: kafka, topic: strings.NewReplacer("/", "-", " ", "-").Replace(t.Name()), kek: filepath.Join(dir, "kek")}
	if err := keyring.GenerateKEK(p.kek, time.Now()); err != nil {
		t.Fatal(err)
	}
	kafka.CreateTopic(t, p.topic, 2, topic)
	p.data = redistest.Start(t, "--appendonly", "yes").Addr
	p.nodes = []string{p.node(t), p.node(t)}
	return p
}

func (p *patient) node(t *testing.T, args ...string) string {
	t.Helper()
	return redistest.Start(t, append([]string{"--slowlog-max-len", "0"}, args...)...).URL()
}

func (p *patient) config() config.Config {
	c := config.Default()
	c.Kafka.Brokers, c.Kafka.Topics, c.Kafka.Group = p.kafka.Brokers(), []string{p.topic}, p.topic
	c.Redis.Addrs, c.Keyring.Nodes, c.Keyring.KEKFile = []string{p.data}, p.nodes, p.kek
	c.Policies = retention.Policies{{Name: "p", Window: time.Hour, Basis: "test"}}
	return c
}

// doctor runs the command as a user does.
func (p *patient) doctor(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mayfly.yaml")
	text, err := json.Marshal(map[string]any{ // JSON is YAML
		"kafka":    map[string]any{"brokers": p.kafka.Brokers(), "topics": []string{p.topic}, "group": p.topic, "sealed": p.sealed},
		"redis":    map[string]any{"addrs": []string{p.data}},
		"keyring":  map[string]any{"nodes": p.nodes, "kek_file": p.kek},
		"policies": []map[string]any{{"name": "p", "window": "1h", "basis": "test"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "mayfly", append([]string{"doctor", "--config", file}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), complaint.String()
}

// expect runs the doctor, and compares what does not pass: "area condition" → verdict.
func (p *patient) expect(t *testing.T, code, level int, want map[string]keyring.Verdict) {
	t.Helper()
	got, stdout, stderr := p.doctor(t, "--output", "json")
	var d diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	found := map[string]keyring.Verdict{}
	for _, f := range d.Findings {
		ofBuild := f.Condition == keyring.KeyMemory || f.Condition == keyring.FreedMemory
		if f.Verdict != keyring.Pass && f.Condition != keyring.NoSwap && !ofBuild { // swap is the machine's
			found[string(f.Area)+" "+string(f.Condition)] = f.Verdict
			if f.Mend == "" {
				t.Errorf("no mend: %+v", f)
			}
		}
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Error(diff)
	}
	if got != code || d.Assurance.Level != level {
		t.Errorf("exit code %d, level %d; want %d, %d", got, d.Assurance.Level, code, level)
	}
	if lines := strings.Count(stderr, "\n"); lines > 1 || (lines == 0) != (code == 0) {
		t.Errorf("standard error: %q", stderr)
	}
}

type seen = map[string]keyring.Verdict

func TestDoctor(t *testing.T) {
	t.Parallel()
	kafka := kafkatest.StartOwn(t)
	for name, test := range map[string]func(*testing.T, *kafkatest.Cluster){
		"sound": func(t *testing.T, kafka *kafkatest.Cluster) {
			newPatient(t, kafka, soundTopic).expect(t, 0, 2, seen{})
		},
		"keyring with an append-only file": func(t *testing.T, kafka *kafkatest.Cluster) {
			p := newPatient(t, kafka, soundTopic)
			p.nodes[1] = p.node(t, "--appendonly", "yes")
			p.expect(t, 1, 0, seen{"keyring append-only file": keyring.Fail})
		},
		"one node": func(t *testing.T, kafka *kafkatest.Cluster) {
			p := newPatient(t, kafka, soundTopic)
			p.nodes = p.nodes[:1]
			p.expect(t, 0, 2, seen{"keyring several nodes": keyring.Warn})
		},
		"CONFIG refused": func(t *testing.T, kafka *kafkatest.Cluster) {
			p := newPatient(t, kafka, soundTopic)
			p.nodes[0] = p.node(t, "--rename-command", "CONFIG", "")
			p.expect(t, 3, 1, seen{"keyring snapshots": keyring.Unattested, "keyring slow log": keyring.Unattested})
		},
		"key file open to others": func(t *testing.T, kafka *kafkatest.Cluster) {
			p := newPatient(t, kafka, soundTopic)
			if err := os.Chmod(p.kek, 0o644); err != nil {
				t.Fatal(err)
			}
			p.expect(t, 1, 0, seen{"kek file mode": keyring.Fail})
		},
		"clock 10 s off":      testDoctorClock,
		"topic keeps 7 d":     testDoctorTopic,
		"shared topic":        testDoctorShared,
		"everything away":     testDoctorAway,
		"it only reads":       testDoctorReads,
		"warden process":      testWardenAttests,
		"a password stays in": testDoctorPassword,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, kafka)
		})
	}
}

func testDoctorClock(t *testing.T, kafka *kafkatest.Cluster) {
	p := newPatient(t, kafka, soundTopic)
	server := miniredis.RunT(t)
	server.SetTime(time.Now().Add(10 * time.Second))
	p.data = server.Addr()
	p.expect(t, 1, 0, seen{
		"redis clock": keyring.Fail, "redis version": keyring.Unattested, "redis eviction": keyring.Unattested, "redis lazy expiry": keyring.Unattested,
		"keyring apart from the data": keyring.Unattested,
	})
}

// A topic as Kafka makes it, then as the doctor's manifest asks for it.
func testDoctorTopic(t *testing.T, kafka *kafkatest.Cluster) {
	p := newPatient(t, kafka, nil)
	p.expect(t, 1, 0, seen{"kafka retention": keyring.Fail, "kafka segments": keyring.Fail, "kafka timestamps": keyring.Warn})
	_, text, _ := p.doctor(t)
	for _, line := range []string{
		"retention.ms 7d exceeds the shortest window 1h", "→ set retention.ms ≤ 3600000, segment.ms ≤ 900000", "assurance level 0",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is not in\n%s", line, text)
		}
	}
	code, manifests, stderr := p.doctor(t, "--emit", "--strimzi-cluster", "ours")
	if code != 0 {
		t.Fatal(stderr)
	}
	var topic warden.Manifest
	if err := yaml.Load([]byte(strings.Split(manifests, "---\n")[1]), &topic); err != nil {
		t.Fatal(err)
	}
	if topic.Spec.TopicName != p.topic || topic.Spec.Partitions != 2 || topic.Metadata.Labels["strimzi.io/cluster"] != "ours" {
		t.Errorf("%+v", topic)
	}
	var changes []kadm.AlterConfig
	for name, value := range topic.Spec.Config {
		changes = append(changes, kadm.AlterConfig{Name: name, Value: &value})
	}
	responses, err := kafka.Admin(t).AlterTopicConfigs(t.Context(), changes, p.topic)
	if err != nil || responses[0].Err != nil {
		t.Fatal(err, responses)
	}
	mayflytest.Eventually(t, "the topic passes as emitted", func() bool {
		code, _, _ := p.doctor(t)
		return code == 0
	})
}

func testDoctorShared(t *testing.T, kafka *kafkatest.Cluster) {
	p := newPatient(t, kafka, soundTopic)
	var commit kadm.Offsets
	commit.AddOffset(p.topic, 0, 0, -1)
	for _, group := range []string{p.topic, "billing"} {
		if err := kafka.Admin(t).CommitAllOffsets(t.Context(), group, commit); err != nil {
			t.Fatal(err)
		}
	}
	p.expect(t, 0, 2, seen{"kafka other groups": keyring.Warn})
}

func testDoctorAway(t *testing.T, kafka *kafkatest.Cluster) {
	p := newPatient(t, kafka, soundTopic)
	p.data, p.nodes = "127.0.0.1:1", []string{"redis://127.0.0.1:1/0", "redis://127.0.0.1:2/0"}
	code, text, stderr := p.doctor(t)
	if code != 1 || strings.Count(text, "refused") < 3 || strings.Contains(text, "pass        keyring") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d\n%s%s", code, text, stderr)
	}
}

// Whatever the doctor says to Redis, it changes nothing there.
func testDoctorReads(t *testing.T, kafka *kafkatest.Cluster) {
	p := newPatient(t, kafka, soundTopic)
	server := redistest.Start(t, "--slowlog-max-len", "0")
	p.nodes[0] = server.URL()
	monitor := server.Monitor(t)
	p.expect(t, 0, 2, seen{})
	if err := server.Client(t).Echo(t.Context(), "the end").Err(); err != nil {
		t.Fatal(err)
	}
	commands := commandsUntil(monitor, "the end")
	for _, expected := range []string{"hello", "ping", "time", "info", "config get"} {
		delete(commands, expected)
	}
	if len(commands) > 0 {
		t.Errorf("it also sends %v", slices.Sorted(maps.Keys(commands)))
	}
}

// commandsUntil gathers the commands that MONITOR shows before the end, CONFIG with its next word.
func commandsUntil(monitor *bufio.Scanner, end string) map[string]bool {
	commands := map[string]bool{}
	for monitor.Scan() && !strings.Contains(monitor.Text(), end) {
		words := strings.Split(monitor.Text(), `"`)
		if len(words) < 2 {
			continue
		}
		command := strings.ToLower(words[1])
		if command == "config" {
			command += " " + strings.ToLower(words[3])
		}
		commands[command] = true
	}
	return commands
}

func testDoctorPassword(t *testing.T, kafka *kafkatest.Cluster) {
	p := newPatient(t, kafka, soundTopic)
	locked := p.node(t, "--requirepass", "open-sesame")
	address := strings.TrimPrefix(locked, "redis://")
	p.nodes[0] = "redis://:open-sesame@" + address
	p.expect(t, 0, 2, seen{})
	p.nodes[0] = "redis://:wrong-sesame@" + address
	for _, args := range [][]string{nil, {"--output", "json"}} {
		code, text, stderr := p.doctor(t, args...)
		if code != 1 || !strings.Contains(text, "WRONGPASS") || strings.Contains(text+stderr, "sesame") {
			t.Errorf("exit code %d\n%s%s", code, text, stderr)
		}
	}
}

// A warden's process attests by itself, beside an ingest that has the clock's gauge too.
func testWardenAttests(t *testing.T, kafka *kafkatest.Cluster) {
	for name, test := range map[string]struct {
		args  []string
		level float64
		lines int
	}{
		"sound":            {nil, 2, 0},
		"append-only file": {[]string{"--appendonly", "yes"}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t, kafka, soundTopic)
			p.nodes[1] = p.node(t, test.args...)
			config := p.config()
			config.Desk.Listen, config.Desk.ReceiptsDir = "127.0.0.1:0", t.TempDir()
			core, logs := logwatch.New(zapcore.InfoLevel)
			running, err := process.New(config, process.Roles{Ingest: true, Warden: true}, zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- running.Run(ctx) }()
			mayflytest.Eventually(t, "a level is logged", func() bool { return logs.FilterMessage("assurance level").Len() > 0 })
			if level := gaugeOf(t, running.Registry, "mayfly_assurance_level"); level != test.level {
				t.Errorf("level %v, want %v: %v", level, test.level, running.Guard.Assurance())
			}
			if age := gaugeOf(t, running.Registry, "mayfly_kafka_oldest_record_age_seconds"); age != 0 {
				t.Errorf("an empty topic has a record %v s old", age)
			}
			if lines := logs.FilterMessage("a condition of the guarantee does not hold").Len(); lines != test.lines {
				t.Errorf("%d failures logged, want %d", lines, test.lines)
			}
			stop()
			if err := errors.Join(<-done, running.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// gaugeOf reads the first gauge of a name.
func gaugeOf(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no %s", name)
	return 0
}
