package guarantee

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
)

// epochLength is that of every policy here that does not say otherwise.
const epochLength = 2 * time.Second

// lab is what the cases share: Kafka, and a system that none of them harms.
type lab struct {
	kafka *kafkatest.Cluster
	*system
	warden, desk *process
}

// newLab starts the shared system, with a policy of each case that has a window.
func newLab(t testing.TB, kafka *kafkatest.Cluster) *lab {
	t.Helper()
	l := &lab{kafka: kafka}
	var policies []map[string]any
	for _, c := range cases {
		if c.window > 0 {
			policies = append(policies, policy(c.name, c.window))
		}
	}
	l.system = newSystem(t, kafka, policies...)
	l.warden, l.desk = l.Start(t, "warden"), l.Start(t, "desk")
	l.warden.AwaitReady(t)
	return l
}

// ingest reads a topic from the beginning, in a group that nobody else is in.
func (s *system) ingest(t testing.TB, topic, group string) *process {
	t.Helper()
	return s.with(func(config map[string]any) {
		kafka := config["kafka"].(map[string]any)
		kafka["topics"], kafka["group"] = []string{topic}, topic+"-"+group
	}).Start(t, "ingest")
}

// compact makes epochs cold a second after their end, however short their window is.
func (s *system) compact(t testing.TB) *process {
	t.Helper()
	return s.with(func(config map[string]any) {
		config["compact"] = map[string]any{"grace": "1s", "every": "100ms", "min_window": "0s"}
	}).Start(t, "compact")
}

// relay seals what it is sent, for the system's topic.
func (s *system) relay(t testing.TB) *process {
	t.Helper()
	return s.with(func(config map[string]any) {
		config["relay"] = map[string]any{"listen": "127.0.0.1:0", "batch": map[string]any{"linger": "20ms"}}
	}).Start(t, "relay")
}

// policyOf is the policy and the case's part of names: "07_replay" gives "g07".
func policyOf(name string) string { return "g" + name[:2] }

func topicOf(name string) string { return "guarantee-" + name }

// policy is of the events of one case's topic.
func policy(name string, window time.Duration) map[string]any {
	return map[string]any{
		"name": policyOf(name), "match": map[string]any{"topic": []string{topicOf(name)}},
		"window": window.String(), "epoch": epochLength.String(), "basis": "test",
	}
}

// system is what one case, or several, work on.
type system struct{ *mayflytest.System }

type process = mayflytest.Process

// newSystem starts servers.
func newSystem(t testing.TB, kafka *kafkatest.Cluster, policies ...map[string]any) *system {
	t.Helper()
	s := &system{mayflytest.New(t, mayfly, kafka)}
	s.Section("kafka")["topics"], s.Section("kafka")["group"] = []string{"guarantee-none"}, strings.NewReplacer("/", "-").Replace(t.Name())
	s.Section("warden")["shards"] = 1
	s.Config["policies"], s.Config["log"] = policies, map[string]any{"level": "debug"}
	return s
}

// with is the same system under a configuration that differs.
func (s *system) with(change func(config map[string]any)) *system { return &system{s.With(change)} }

// ownSystem is a system of one case, with its policy.
func ownSystem(t testing.TB, l *lab, window time.Duration) *system {
	t.Helper()
	s := newSystem(t, l.kafka, policy(caseOf(t), window))
	s.Section("kafka")["topics"] = []string{topicOf(caseOf(t))}
	return s
}

// caseOf is the name of the case that t runs.
func caseOf(t testing.TB) string {
	_, name, _ := strings.Cut(t.Name(), "/")
	name, _, _ = strings.Cut(name, "/")
	return name
}

// topic makes the case's topic.
func topic(t testing.TB, kafka *kafkatest.Cluster) string {
	t.Helper()
	name := topicOf(caseOf(t))
	kafka.CreateTopic(t, name, 1, nil)
	return name
}

// send hands events to the relay until Kafka has them.
func send(t testing.TB, relay *process, events ...connection) {
	t.Helper()
	lines := make([][]byte, len(events))
	for i, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines[i] = line
	}
	if status, body := relay.Post(lines...); status != http.StatusAccepted {
		t.Fatalf("the relay answers %d %s", status, body)
	}
}

// audit runs mayfly audit verify over the logs of all processes of the system.
func (s *system) audit(t testing.TB, args ...string) (text string, sound bool) {
	t.Helper()
	arguments := []string{"audit", "verify"}
	for _, folder := range []string{filepath.Join(s.Folder, "receipts"), filepath.Join(s.Folder, "receipts", "warden")} {
		key := filepath.Join(folder, "receipts.pub")
		if _, err := os.Stat(key); err == nil {
			arguments = append(arguments, folder)
			args = append(args, "--key", key)
		}
	}
	out, err := exec.Command(mayfly, append(arguments, args...)...).CombinedOutput()
	return string(out), err == nil
}

// sleepUntil waits for an instant that nothing announces, such as a deadline.
func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }
