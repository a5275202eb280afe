package mayflytest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is a running mayfly.
type Process struct {
	URL    string        // where it answers to HTTP
	Exited chan struct{} // closed when it has ended
	PID    int

	command *exec.Cmd
	log     logged
	ended   error // once it has
}

// logged collects what a process logs.
type logged struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// Log is what the process has logged.
func (p *Process) Log() string {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.log.text.String()
}

var listens = regexp.MustCompile(`(?:desk listens|metrics and health listen|relay listens)","address":"([^"]+)"`)

// Start starts a role and waits until it answers to HTTP.
func (s *System) Start(t testing.TB, args ...string) *Process {
	t.Helper()
	p := &Process{command: s.Command(t, args...), Exited: make(chan struct{})}
	p.command.Stderr = &p.log
	started := make(chan error, 1)
	go func() {
		// The kernel kills the child with the thread that started it: it must stay.
		runtime.LockOSThread()
		defer close(p.Exited)
		err := p.command.Start()
		started <- err
		if err == nil {
			p.ended = p.command.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	p.PID = p.command.Process.Pid
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("mayfly %s:\n%s", strings.Join(args, " "), p.lastLines(40))
		}
	})
	Eventually(t, "mayfly "+args[0]+" listens", func() bool {
		p.MustRun(t)
		if found := listens.FindStringSubmatch(p.Log()); found != nil {
			p.URL = "http://" + found[1]
		}
		return p.URL != ""
	})
	return p
}

// lastLines leaves out what every look-up and every purge says.
func (p *Process) lastLines(n int) string {
	var lines []string
	for line := range strings.Lines(p.Log()) {
		if !strings.Contains(line, "look-up answered") && !strings.Contains(line, "epoch purged") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(len(lines)-n, 0):], "")
}

// MustRun expects that the process has not ended.
func (p *Process) MustRun(t testing.TB) {
	t.Helper()
	select {
	case <-p.Exited:
		t.Fatalf("mayfly has ended: %v\n%s", p.ended, p.lastLines(20))
	default:
	}
}

// Kill ends the process as kill -9 does, suspended or not.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.Exited
}

// Terminate asks the process to end, and gives how it did.
func (p *Process) Terminate(t testing.TB) error {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	select {
	case <-p.Exited:
	case <-time.After(Patience):
		t.Fatal("SIGTERM does not end mayfly")
	}
	return p.ended
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
}

// Get gives the status and the body of a page; 0 where the process is silent.
func (p *Process) Get(path string) (int, string) { return p.do(http.MethodGet, path, "", nil) }

func (p *Process) do(method, path, contentType string, body []byte) (int, string) {
	request, err := http.NewRequest(method, p.URL+path, bytes.NewReader(body))
	if err != nil {
		return 0, ""
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body) // to the end, so that the connection is kept
	if err != nil {
		return 0, ""
	}
	return response.StatusCode, string(answer)
}

// Metric sums the series whose name, and labels, begin with prefix; 0 where the process is silent.
func (p *Process) Metric(prefix string) (sum float64) {
	_, text := p.Get("/metrics")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			value, _ := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' ')+1:]), 64)
			sum += value
		}
	}
	return sum
}

// Events is how many messages have had a result.
func (p *Process) Events(result string) float64 {
	return p.Metric(fmt.Sprintf("mayfly_ingest_events_total{result=%q}", result))
}

// NotReady gives what /readyz says is wrong, by part.
func (p *Process) NotReady(t testing.TB) map[string]string {
	t.Helper()
	status, text := p.Get("/readyz")
	var body struct {
		NotReady map[string]string `json:"not_ready"`
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatal(err)
	}
	if (status == http.StatusOK) != (len(body.NotReady) == 0) {
		t.Errorf("status %d with %v", status, body.NotReady)
	}
	return body.NotReady
}

// AwaitNotReady waits until /readyz names a part.
func (p *Process) AwaitNotReady(t testing.TB, part string) {
	t.Helper()
	var said map[string]string
	Eventually(t, "readyz names "+part, func() bool {
		p.MustRun(t)
		said = p.NotReady(t)
		return said[part] != ""
	}, func() { t.Log(said) })
}

// AwaitReady waits until nothing is wrong.
func (p *Process) AwaitReady(t testing.TB) {
	t.Helper()
	var said map[string]string
	Eventually(t, "mayfly is ready", func() bool {
		p.MustRun(t)
		said = p.NotReady(t)
		return len(said) == 0
	}, func() { t.Log(said) })
}

// AwaitLog waits until a text is in the log.
func (p *Process) AwaitLog(t testing.TB, text string) {
	t.Helper()
	Eventually(t, "a log line: "+text, func() bool {
		p.MustRun(t)
		return strings.Contains(p.Log(), text)
	})
}
