package guarantee

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

// patience is for what takes a second or two on a quiet machine.
const patience = 60 * time.Second

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
	l.warden, l.desk = l.start(t, "warden"), l.start(t, "desk")
	l.warden.awaitReady(t)
	return l
}

// ingest reads a topic from the beginning, in a group that nobody else is in.
func (s *system) ingest(t testing.TB, topic, group string) *process {
	t.Helper()
	return s.with(func(config map[string]any) {
		kafka := config["kafka"].(map[string]any)
		kafka["topics"], kafka["group"] = []string{topic}, topic+"-"+group
	}).start(t, "ingest")
}

// compact makes epochs cold a second after their end, however short their window is.
func (s *system) compact(t testing.TB) *process {
	t.Helper()
	return s.with(func(config map[string]any) {
		config["compact"] = map[string]any{"grace": "1s", "every": "100ms", "min_window": "0s"}
	}).start(t, "compact")
}

// relay seals what it is sent, for the system's topic.
func (s *system) relay(t testing.TB) *process {
	t.Helper()
	return s.with(func(config map[string]any) {
		config["relay"] = map[string]any{"listen": "127.0.0.1:0", "batch": map[string]any{"linger": "20ms"}}
	}).start(t, "relay")
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

// system is Redis servers, a key-encryption key and a configuration.
type system struct {
	kafka  *kafkatest.Cluster
	data   *redistest.Server
	keys   []*redistest.Server
	folder string // on tmpfs: the key-encryption key, receipts, configuration files
	config map[string]any
}

// newSystem starts servers; the data's has an append-only file.
func newSystem(t testing.TB, kafka *kafkatest.Cluster, policies ...map[string]any) *system {
	t.Helper()
	s := &system{kafka: kafka, folder: tmpfs(t), data: redistest.Start(t, "--appendonly", "yes")}
	for range 2 {
		s.keys = append(s.keys, redistest.Start(t, "--slowlog-max-len", "0"))
	}
	if err := keyring.GenerateKEK(s.kek(), time.Now()); err != nil {
		t.Fatal(err)
	}
	s.config = map[string]any{
		"kafka": map[string]any{
			"brokers": kafka.Brokers(), "topics": []string{"guarantee-none"}, "fetch_wait": "100ms",
			"group": strings.NewReplacer("/", "-").Replace(t.Name()),
		},
		"redis":    map[string]any{"addrs": []string{s.data.Addr}},
		"keyring":  map[string]any{"nodes": []string{s.keys[0].URL(), s.keys[1].URL()}, "kek_file": s.kek()},
		"policies": policies,
		"ingest":   map[string]any{"linger": "100ms", "commit_delay": "1s"},
		"desk":     map[string]any{"listen": "127.0.0.1:0", "receipts_dir": filepath.Join(s.folder, "receipts")},
		"warden":   map[string]any{"shards": 1},
		"log":      map[string]any{"level": "debug"},
	}
	return s
}

// ownSystem is a system of one case, with its policy.
func ownSystem(t testing.TB, l *lab, window time.Duration) *system {
	t.Helper()
	s := newSystem(t, l.kafka, policy(caseOf(t), window))
	s.section("kafka")["topics"] = []string{topicOf(caseOf(t))}
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

func (s *system) kek() string { return filepath.Join(s.folder, "kek") }

func (s *system) section(name string) map[string]any { return s.config[name].(map[string]any) }

// with is the same system under a configuration that differs.
func (s *system) with(change func(config map[string]any)) *system {
	other := *s
	other.config = maps.Clone(s.config)
	for name, section := range other.config {
		if section, ok := section.(map[string]any); ok {
			other.config[name] = maps.Clone(section)
		}
	}
	change(other.config)
	return &other
}

// tmpfs is a folder in memory, where a key-encryption key belongs.
func tmpfs(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("/dev/shm", "mayfly-guarantee-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// process is a running mayfly.
type process struct {
	command *exec.Cmd
	log     logged
	exited  chan struct{} // closed when it has ended
	url     string
}

// logged collects what a process logs.
type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (r *logged) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *logged) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// mayfly is one command with the system's configuration.
func (s *system) mayfly(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(s.config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.CreateTemp(s.folder, "mayfly-*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(text)
	if err != nil || file.Close() != nil {
		t.Fatal("writing the configuration")
	}
	command := exec.Command(mayfly, append(args, "--config", file.Name())...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return command
}

var listens = regexp.MustCompile(`(?:desk listens|metrics and health listen|relay listens)","address":"([^"]+)"`)

// start starts a role and waits until it answers to HTTP.
func (s *system) start(t testing.TB, role string) *process {
	t.Helper()
	p := &process{command: s.mayfly(t, role), exited: make(chan struct{})}
	p.command.Stderr = &p.log
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child with the thread that started it: it must stay.
		runtime.LockOSThread()
		defer close(p.exited)
		err := p.command.Start()
		started <- err
		if err == nil {
			_ = p.command.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("mayfly %s:\n%s", role, lastLines(p.log.String(), 40))
		}
	})
	eventually(t, "mayfly "+role+" listens", func() bool {
		p.mustRun(t)
		if found := listens.FindStringSubmatch(p.log.String()); found != nil {
			p.url = "http://" + found[1]
		}
		return p.url != ""
	})
	return p
}

// lastLines leaves out what every look-up says.
func lastLines(text string, n int) string {
	var lines []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "look-up answered") && !strings.Contains(line, "epoch purged") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(len(lines)-n, 0):], "")
}

func (p *process) mustRun(t testing.TB) {
	t.Helper()
	select {
	case <-p.exited:
		t.Fatalf("mayfly has ended: %v\n%s", p.command.ProcessState, lastLines(p.log.String(), 20))
	default:
	}
}

// kill ends the process as kill -9 does, suspended or not.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	<-p.exited
}

func (p *process) terminate(t testing.TB) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		t.Fatal("SIGTERM does not end mayfly")
	}
}

func (p *process) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// get gives the status and the body of a page; 0 where the process is silent.
func (p *process) get(path string) (int, string) {
	response, err := http.Get(p.url + path)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(body)
}

// send hands events to the relay until Kafka has them.
func (p *process) send(t testing.TB, events ...connection) {
	t.Helper()
	var body bytes.Buffer
	for _, e := range events {
		if err := json.NewEncoder(&body).Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	response, err := http.Post(p.url+"/v1/events", "application/x-ndjson", &body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body) // else the connection would not be kept
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusAccepted {
		t.Fatalf("the relay answers %d %s, %v", response.StatusCode, answer, err)
	}
}

// metric sums the series whose name and labels begin with prefix.
func (p *process) metric(prefix string) (sum float64) {
	_, text := p.get("/metrics")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			value, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			sum += value
		}
	}
	return sum
}

// events is how many messages have had a result.
func (p *process) events(result string) float64 {
	return p.metric(fmt.Sprintf("mayfly_ingest_events_total{result=%q}", result))
}

func (p *process) awaitReady(t testing.TB) {
	t.Helper()
	var body string
	eventually(t, "mayfly is ready", func() (ready bool) {
		p.mustRun(t)
		var status int
		status, body = p.get("/readyz")
		return status == http.StatusOK
	}, func() { t.Log(body) })
}

// ask sends a look-up to the desk; status 0 where there is no answer at all.
func (p *process) ask(request lookup.Request) (status int, body string) {
	request.Case, request.Reason = "GUARANTEE-1", "test"
	text, err := json.Marshal(request)
	if err != nil {
		return 0, ""
	}
	response, err := http.Post(p.url+"/v1/lookups", "application/json", bytes.NewReader(text))
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(answer)
}

// look is ask where an answer is due.
func (p *process) look(t testing.TB, request lookup.Request) (result lookup.Result) {
	t.Helper()
	status, body := p.ask(request)
	if status != http.StatusOK {
		t.Fatalf("the desk answers %d %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// awaitFound waits until a look-up finds n events, all there are.
func (p *process) awaitFound(t testing.TB, request lookup.Request, n int) lookup.Result {
	t.Helper()
	var result lookup.Result
	eventually(t, fmt.Sprint(n, " events are found"), func() bool {
		result = p.look(t, request)
		return len(result.Events) >= n && result.Complete
	}, func() { t.Logf("the last look-up found %d, complete: %v", len(result.Events), result.Complete) })
	if len(result.Events) != n {
		t.Errorf("%d events found, want %d", len(result.Events), n)
	}
	return result
}

// mustNotFind expects a sound answer without an event.
func (p *process) mustNotFind(t testing.TB, requests ...lookup.Request) {
	t.Helper()
	for _, request := range requests {
		if result := p.look(t, request); len(result.Events) > 0 {
			t.Errorf("%d events found that nobody may know any more", len(result.Events))
		}
	}
}

// audit runs mayfly audit verify over the logs of all processes of the system.
func (s *system) audit(t testing.TB, args ...string) (text string, sound bool) {
	t.Helper()
	arguments := []string{"audit", "verify"}
	for _, folder := range []string{filepath.Join(s.folder, "receipts"), filepath.Join(s.folder, "receipts", "warden")} {
		key := filepath.Join(folder, "receipts.pub")
		if _, err := os.Stat(key); err == nil {
			arguments = append(arguments, folder)
			args = append(args, "--key", key)
		}
	}
	out, err := exec.Command(mayfly, append(arguments, args...)...).CombinedOutput()
	return string(out), err == nil
}

// eventually asks again until the answer is yes.
func eventually(t testing.TB, what string, yes func() bool, explain ...func()) {
	t.Helper()
	for limit := time.Now().Add(patience); !yes(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			for _, say := range explain {
				say()
			}
			t.Fatalf("never: %s", what)
		}
	}
}

// sleepUntil waits for an instant that nothing announces, such as a deadline.
func sleepUntil(at time.Time) { time.Sleep(time.Until(at)) }
