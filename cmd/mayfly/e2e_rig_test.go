package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

// e2ePatience is for what takes a second or two on a quiet machine.
const e2ePatience = 60 * time.Second

// e2eSystem is everything that mayfly works with, on real servers: its
// processes are those that an operator would start.
type e2eSystem struct {
	kafka  *kafkatest.Cluster
	data   *redistest.Server
	keys   []*redistest.Server
	topics []string
	group  string
	config map[string]any
	file   string
}

// newE2E starts the Redis servers and makes the topics, named after the test.
// The data Redis has an append-only file, so that a crash loses nothing.
func newE2E(t *testing.T, kafka *kafkatest.Cluster, window time.Duration, topics ...string) *e2eSystem {
	t.Helper()
	dir := t.TempDir()
	s := &e2eSystem{kafka: kafka, group: strings.NewReplacer("/", "-").Replace(t.Name()), file: filepath.Join(dir, "mayfly.yaml")}
	s.data = redistest.Start(t, "--appendonly", "yes")
	nodes := make([]string, 2)
	for i := range nodes {
		server := redistest.Start(t)
		s.keys, nodes[i] = append(s.keys, server), server.URL()
	}
	for _, topic := range topics {
		s.topics = append(s.topics, s.group+"-"+topic)
	}
	kek := filepath.Join(dir, "kek")
	if err := keyring.GenerateKEK(kek, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.config = map[string]any{
		"kafka":    map[string]any{"brokers": kafka.Brokers(), "topics": s.topics, "group": s.group, "fetch_wait": "100ms"},
		"redis":    map[string]any{"addrs": []string{s.data.Addr}},
		"keyring":  map[string]any{"nodes": nodes, "kek_file": kek},
		"policies": []map[string]any{{"name": "all", "window": window.String(), "basis": "test"}},
		"ingest":   map[string]any{"linger": "100ms", "commit_delay": "1s"},
		"desk":     map[string]any{"listen": "127.0.0.1:0", "receipts_dir": filepath.Join(dir, "receipts")},
		"warden":   map[string]any{"shards": 3},
	}
	return s
}

func (s *e2eSystem) topic() string { return s.topics[0] }

// e2eProcess is a running mayfly.
type e2eProcess struct {
	cmd    *exec.Cmd
	log    e2eLog
	exited chan struct{} // closed when it has ended, with err
	err    error
	url    string
}

// e2eLog collects what a process logs.
type e2eLog struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *e2eLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *e2eLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// command is one mayfly with the system's configuration.
func (s *e2eSystem) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(s.config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mayfly", append(args, "--config", s.file)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

var listens = regexp.MustCompile(`(?:desk listens|metrics and health listen|relay listens)","address":"([^"]+)"`)

// start starts a role and waits until it answers to HTTP.
func (s *e2eSystem) start(t *testing.T, args ...string) *e2eProcess {
	t.Helper()
	p := &e2eProcess{cmd: s.command(t, args...), exited: make(chan struct{})}
	p.cmd.Stderr = &p.log
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child with the thread that started it: it must stay.
		runtime.LockOSThread()
		defer close(p.exited)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("mayfly %s:", strings.Join(args, " "))
			for line := range strings.Lines(p.log.String()) {
				if !strings.Contains(line, "look-up answered") {
					t.Log(strings.TrimSpace(line))
				}
			}
		}
	})
	e2eEventually(t, "mayfly "+args[0]+" listens", func() bool {
		p.mustRun(t)
		found := listens.FindStringSubmatch(p.log.String())
		if found == nil {
			return false
		}
		p.url = "http://" + found[1]
		return true
	})
	return p
}

func (p *e2eProcess) mustRun(t *testing.T) {
	t.Helper()
	select {
	case <-p.exited:
		t.Fatalf("mayfly has ended: %v", p.err)
	default:
	}
}

// kill ends the process as kill -9 does.
func (p *e2eProcess) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// terminate asks the process to end, and gives what it says.
func (p *e2eProcess) terminate(t *testing.T) error {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.exited:
	case <-time.After(e2ePatience):
		t.Fatal("SIGTERM does not end mayfly")
	}
	return p.err
}

// run runs a command to its end.
func (s *e2eSystem) run(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := s.command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("mayfly %s: %v: %s", args[0], err, stderr.String())
	}
	return out
}

// ask sends a look-up to the desk.
func (p *e2eProcess) ask(request lookup.Request) (result lookup.Result, err error) {
	request.Case, request.Reason, request.Limit = "E2E-1", "test", lookup.MaxLimit
	body, err := json.Marshal(request)
	if err != nil {
		return result, err
	}
	response, err := http.Post(p.url+"/v1/lookups", "application/json", bytes.NewReader(body))
	if err != nil {
		return result, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return result, fmt.Errorf("the desk answers %s", response.Status)
	}
	return result, json.NewDecoder(response.Body).Decode(&result)
}

// look is ask where an answer is due, and nothing may be missing.
func (p *e2eProcess) look(t *testing.T, request lookup.Request) lookup.Result {
	t.Helper()
	result, err := p.ask(request)
	if err != nil {
		t.Fatal(err)
	}
	if !result.Complete || result.Truncated {
		t.Errorf("complete: %v, truncated: %v", result.Complete, result.Truncated)
	}
	return result
}

// awaitEvents waits until a look-up finds all of n events, and expects no more.
func (p *e2eProcess) awaitEvents(t *testing.T, request lookup.Request, n int) {
	t.Helper()
	last := -1
	e2eEventually(t, fmt.Sprint(n, " events are found"), func() bool {
		time.Sleep(100 * time.Millisecond) // a look-up costs more than other questions
		result, err := p.ask(request)
		if err == nil {
			last = len(result.Events)
		}
		return err == nil && last >= n && result.Complete
	}, func() { t.Logf("the last look-up found %d events", last) })
	if last != n {
		t.Errorf("%d events found, want %d", last, n)
	}
}

// metric sums the series whose name (and labels) begin with prefix; 0 where the process is silent.
func (p *e2eProcess) metric(prefix string) (sum float64) {
	text, err := p.get("/metrics")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			value, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			sum += value
		}
	}
	return sum
}

func (p *e2eProcess) get(path string) (string, error) {
	response, err := http.Get(p.url + path)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

// notReady gives what /readyz says is wrong, by part.
func (p *e2eProcess) notReady(t *testing.T) map[string]string {
	t.Helper()
	response, err := http.Get(p.url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var body struct {
		NotReady map[string]string `json:"not_ready"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	if (response.StatusCode == http.StatusOK) != (len(body.NotReady) == 0) {
		t.Errorf("status %d with %v", response.StatusCode, body.NotReady)
	}
	return body.NotReady
}

func (p *e2eProcess) awaitNotReady(t *testing.T, part string) {
	t.Helper()
	var said map[string]string
	e2eEventually(t, "readyz names "+part, func() bool {
		p.mustRun(t)
		said = p.notReady(t)
		return said[part] != ""
	}, func() { t.Log(said) })
}

func (p *e2eProcess) awaitReady(t *testing.T) {
	t.Helper()
	var said map[string]string
	e2eEventually(t, "mayfly is ready", func() bool {
		p.mustRun(t)
		said = p.notReady(t)
		return len(said) == 0
	}, func() { t.Log(said) })
}

// committed gives the group's offsets and the logs' ends, summed over partitions.
func (s *e2eSystem) committed(t *testing.T) (committed, end int64) {
	t.Helper()
	admin := s.kafka.Admin(t)
	offsets, err := admin.FetchOffsets(t.Context(), s.group)
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { committed += max(o.At, 0) })
	ends, err := admin.ListEndOffsets(t.Context(), s.topics...)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { end += o.Offset })
	return committed, end
}

// e2eEvents makes n events of the last minute, numbered by their session,
// spread over partitions, addresses of 198.51.100.0/24 and accounts account-0 to account-(accounts-1).
func e2eEvents(from, n, partitions, accounts int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	now := time.Now()
	for i := range records {
		number := from + i
		records[i] = &kgo.Record{
			Partition: int32(number % partitions),
			Value: fmt.Appendf(nil, `{"time":%d,"account":"account-%d","ip":"198.51.100.%d","port":%d,"session":"s%d"}`,
				now.Add(-time.Duration(number%60_000)*time.Millisecond).UnixMilli(), number%accounts, number%256, number%60_000, number),
		}
	}
	return records
}

// everybody is the look-up of all that e2eEvents makes.
var everybody = lookup.Request{Prefix: "198.51.100.0/24"}

// e2eEventually asks again until the answer is yes.
func e2eEventually(t *testing.T, what string, yes func() bool, explain ...func()) {
	t.Helper()
	for deadline := time.Now().Add(e2ePatience); !yes(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, say := range explain {
				say()
			}
			t.Fatalf("never: %s", what)
		}
	}
}
