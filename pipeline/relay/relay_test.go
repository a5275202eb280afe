package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mayfly/pipeline/edge"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// rig is a relay before a topic in this process.
type rig struct {
	*Relay
	ring     *keyring.Keyring
	registry *prometheus.Registry
	log      *bytes.Buffer // read it once the relay has ended

	mu     sync.Mutex // guards all below
	events int        // in the topic
	fail   error
}

// Produce implements edge.Producer.
func (r *rig) Produce(_ context.Context, _, message []byte, done func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	batch, err := seal.ParseBatch(message)
	if err == nil {
		err = r.fail
	}
	if err == nil {
		r.events += batch.Events
	}
	go done(err)
}

func (r *rig) sent() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

var policy = retention.Policy{Name: "web", Window: 10 * time.Minute, Epoch: 10 * time.Minute}

func newRig(t *testing.T, change func(*Config)) *rig {
	t.Helper()
	r := &rig{registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	var err error
	if r.ring, err = keyring.New(keyring.NewMemoryNode("a")); err != nil {
		t.Fatal(err)
	}
	config := DefaultConfig()
	config.Listen = "127.0.0.1:0"
	config.Batch.Linger, config.Batch.KeyWait = 10*time.Millisecond, 100*time.Millisecond
	if change != nil {
		change(&config)
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	log := zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(r.log)), zapcore.DebugLevel))
	sealer, err := edge.New(config.Batch, edge.Dependencies{
		Policies: retention.Policies{policy}, Keys: r.ring, Producer: r, Log: log, Registerer: r.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	if r.Relay, err = New(config, Dependencies{Sealer: sealer, Gatherer: r.registry, Log: log}); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) mint(t *testing.T) {
	t.Helper()
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, epoch := range policy.Live(time.Now()) {
		_, err := r.ring.Mint(t.Context(), epoch, epoch.Deadline(policy.Window), kek, func() uint32 { return 4 },
			func(keyring.Public) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// seal runs the sealer alone, for tests that call the handler.
func (r *rig) seal(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.deps.Sealer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// post gives the status and the body of an answer.
func (r *rig) post(body string) (int, string) {
	w := httptest.NewRecorder()
	r.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(body)))
	return w.Code, w.Body.String()
}

const canary = "203.0.113.77"

func jsonEvents(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"time":%d,"account":"canary-account-%d","ip":"%s"}`+"\n", time.Now().UnixMilli(), i, canary)
	}
	return b.String()
}

func TestEventsAreAnsweredOnceKafkaHasThem(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.mint(t)
	r.seal(t)
	body := jsonEvents(20) + "\r\n{\"account\":\"canary-account-1\"}\n{\"time\":1,\"account\":\"a\",\"ip\":\"" + canary + "\"}\n" + canary
	status, text := r.post(body)
	var got accepted
	if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusAccepted {
		t.Fatalf("%d: %s", status, text)
	}
	want := accepted{Accepted: 20, Refused: map[string]int{"no_time": 1, "expired": 1, "not_json": 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.sent() != 20 {
		t.Errorf("%d events are in the topic", r.sent())
	}
	metrics := httptest.NewRecorder()
	r.handler().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range []string{`mayfly_relay_events_total{result="sealed"} 20`, `mayfly_relay_events_total{result="not_json"} 1`} {
		if !strings.Contains(metrics.Body.String(), line) {
			t.Errorf("no metric %s", line)
		}
	}
	for _, answer := range []string{text, metrics.Body.String()} {
		if strings.Contains(answer, canary) || strings.Contains(answer, "canary-account") {
			t.Error("an answer tells of an event")
		}
	}
}

func TestRefusalsSayWhyAndNothingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxBody = 4 << 10 })
	r.seal(t)
	ready := func() int {
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		return w.Code
	}
	expect := func(name string, wantStatus int, wantDetail, body string) {
		t.Helper()
		status, text := r.post(body)
		var p problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || status != wantStatus || !strings.Contains(p.Detail, wantDetail) || p.Status != status {
			t.Errorf("%s: %d: %s", name, status, text)
		}
		if strings.Contains(text, canary) || strings.Contains(text, "canary-account") {
			t.Errorf("%s: the answer tells of an event", name)
		}
	}
	expect("too long", http.StatusRequestEntityTooLarge, "relay.max_body", jsonEvents(100))
	expect("no event", http.StatusUnprocessableEntity, "no line", canary+"\n")
	expect("no line", http.StatusUnprocessableEntity, "no line", "")
	expect("no key", http.StatusServiceUnavailable, "no epoch key", jsonEvents(3))
	if ready() != http.StatusServiceUnavailable {
		t.Error("ready without a key")
	}
	r.mint(t)
	r.fail = errors.New("no leader for " + canary)
	expect("no Kafka", http.StatusServiceUnavailable, "kafka has not acknowledged", jsonEvents(3))
	if ready() != http.StatusServiceUnavailable {
		t.Error("ready without Kafka")
	}
	r.mu.Lock()
	r.fail = nil
	r.mu.Unlock()
	if status, text := r.post(jsonEvents(3)); status != http.StatusAccepted || ready() != http.StatusOK {
		t.Errorf("once all is well: %d: %s", status, text)
	}
	if r.sent() != 3 {
		t.Errorf("%d events are in the topic", r.sent())
	}
	get := httptest.NewRecorder()
	r.handler().ServeHTTP(get, httptest.NewRequest(http.MethodGet, "/v1/events", nil))
	if get.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", get.Code)
	}
}

func TestAsyncDoesNotWaitForKafka(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Async = true }) // and nobody seals
	if status, text := r.post(jsonEvents(3)); status != http.StatusAccepted {
		t.Fatalf("%d: %s", status, text)
	}
	r.mint(t)
	r.seal(t)
	eventually(t, func() bool { return r.sent() == 3 })
}

// eventually waits for what takes milliseconds on a quiet machine.
func eventually(t *testing.T, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never")
		}
	}
}

// A relay that ends answers and sends what it has taken, from both ways in.
func TestLinesFromASocketAreSealedAndTheEndDrains(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "relay.sock")
	r := newRig(t, func(c *Config) {
		c.Socket = SocketConfig{Listen: "unix:" + path, Format: "sshd", Zone: "UTC"}
		c.Batch.Linger = time.Minute // only the end sends
	})
	r.mint(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var conn net.Conn
	eventually(t, func() (ok bool) {
		var err error
		conn, err = net.Dial("unix", path)
		return err == nil
	})
	stamp := time.Now().UTC().Format(time.RFC3339)
	for i := range 5 {
		fmt.Fprintf(conn, "%s host sshd[7]: Accepted publickey for canary-account-%d from %s port 4%d ssh2\n", stamp, i, canary, i)
	}
	fmt.Fprintf(conn, "%s host sshd[7]: Server listening\n%s host sshd[7]: Failed password for %s from %s port 1 ssh2\n",
		stamp, stamp, strings.Repeat("x", 200), canary)
	_ = conn.Close()
	count := func(result string) string { return `mayfly_relay_events_total{result="` + result + `"} 1` }
	eventually(t, func() bool {
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		return strings.Contains(w.Body.String(), count("unrelated")) && strings.Contains(w.Body.String(), count("bad_account"))
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if r.sent() != 5 {
		t.Errorf("%d events are in the topic", r.sent())
	}
	if log := r.log.String(); strings.Contains(log, canary) || strings.Contains(log, "canary-account") || log == "" {
		t.Errorf("the log tells of an event, or nothing at all:\n%s", log)
	}
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the socket is still there")
	}
}

func TestASenderOfHugeLinesIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.Socket = SocketConfig{Listen: "tcp:127.0.0.1:0", Format: "json"} })
	server, client := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.lines.read(t.Context(), server)
	}()
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 10 {
		if _, err := client.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(client, "\n"); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	<-done
	metrics := httptest.NewRecorder()
	r.handler().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(metrics.Body.String(), `mayfly_relay_events_total{result="too_large"} 1`) {
		t.Error("a line of 10 MiB is not counted as one that is too large")
	}
}

func TestConfigNamesTheSetting(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Config){
		"relay.listen":         func(c *Config) { c.Listen = "" },
		"relay.max_body":       func(c *Config) { c.MaxBody = 1 },
		"relay.max_requests":   func(c *Config) { c.MaxRequests = 0 },
		"relay.timeout":        func(c *Config) { c.Timeout = 0 },
		"relay.socket.listen":  func(c *Config) { c.Socket.Listen = "udp:1" },
		"relay.socket.format":  func(c *Config) { c.Socket.Format = "xml" },
		"relay.batch.linger":   func(c *Config) { c.Batch.Linger = 0 },
		"relay.batch.events":   func(c *Config) { c.Batch.Events = 0 },
		"relay.batch.memory":   func(c *Config) { c.Batch.Memory = 0 },
		"relay.batch.key_wait": func(c *Config) { c.Batch.KeyWait = -1 },
		"relay.batch.skew":     func(c *Config) { c.Batch.Skew = -1 },
		"relay.batch.lanes":    func(c *Config) { c.Batch.Lanes = -1 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
