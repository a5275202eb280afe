package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// engine is a strict stand-in for a transit engine, as far as its documented
// behaviour goes. MAYFLY_TEST_TRANSIT names a real one for the same tests.
type engine struct {
	mu     sync.Mutex
	keys   map[string]*engineKey
	refuse string // a path's end
	lie    string // what it answers well and does not do
	calls  []string
}

type engineKey struct {
	created                     int64
	latest, available, dec, enc int64
	sealed                      map[string]sealedByEngine
}

type sealedByEngine struct {
	version               int64
	plaintext, associated string
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	path, ours := strings.CutPrefix(r.URL.Path, "/v1/transit/")
	if r.Header.Get("X-Vault-Token") != "root" || !ours || e.refuse != "" && strings.HasSuffix(path, e.refuse) {
		http.Error(w, `{"errors":["permission denied"]}`, http.StatusForbidden)
		return
	}
	e.calls = append(e.calls, path)
	var body map[string]any
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, "{}", http.StatusBadRequest)
			return
		}
	}
	data, status := e.answer(r.Method, strings.Split(path, "/"), body)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

func (e *engine) answer(method string, path []string, body map[string]any) (map[string]any, int) {
	number := func(name string) int64 { n, _ := body[name].(float64); return int64(n) }
	text := func(name string) string { s, _ := body[name].(string); return s }
	key := e.keys[path[1]]
	switch {
	case path[0] == "keys" && method == http.MethodPost && len(path) == 2 && key == nil:
		e.keys[path[1]] = &engineKey{created: time.Now().Unix(), latest: 1, dec: 1, sealed: map[string]sealedByEngine{}}
		return nil, 200
	case key == nil:
		return nil, 404
	case method == http.MethodGet:
		return map[string]any{"keys": map[string]int64{"1": key.created}, "latest_version": key.latest, "min_available_version": key.available}, 200
	case path[0] == "encrypt":
		v := number("key_version")
		if v > key.latest || v < key.enc {
			return nil, 400
		}
		if e.lie == "encrypt" {
			v++
		}
		name := "vault:v" + jsonNumber(v) + ":" + text("plaintext")[:8] + jsonNumber(int64(len(key.sealed)))
		key.sealed[name] = sealedByEngine{v, text("plaintext"), text("associated_data")}
		return map[string]any{"ciphertext": name}, 200
	case path[0] == "decrypt":
		s, there := key.sealed[text("ciphertext")]
		if !there || s.version < key.dec || s.version < key.available || s.associated != text("associated_data") {
			return nil, 400
		}
		return map[string]any{"plaintext": s.plaintext}, 200
	case path[2] == e.lie:
	case path[2] == "rotate":
		key.latest++
	case path[2] == "config":
		if number("min_decryption_version") > key.latest || number("min_encryption_version") > key.latest {
			return nil, 400
		}
		key.dec, key.enc = number("min_decryption_version"), number("min_encryption_version")
	case path[2] == "trim":
		if n := number("min_available_version"); n > key.enc || n > key.dec || n < key.available {
			return nil, 400
		}
		key.available = number("min_available_version")
	}
	return nil, 200
}

func jsonNumber(n int64) string { b, _ := json.Marshal(n); return string(b) }

func testTransit(t *testing.T) (TransitConfig, *engine) {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("root\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := strings.ToLower(regexp.MustCompile(`\W`).ReplaceAllString(t.Name(), "-"))
	config := TransitConfig{Mount: "transit", Key: name, TokenFile: token, Slot: time.Minute}
	if config.Address = os.Getenv("MAYFLY_TEST_TRANSIT"); config.Address != "" {
		return config, nil
	}
	e := &engine{keys: map[string]*engineKey{}}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	config.Address = server.URL
	return config, e
}

func TestTransitIsForwardSecure(t *testing.T) {
	t.Parallel()
	config, _ := testTransit(t)
	now := time.Now()
	kek, err := OpenTransit(config, now)
	if err != nil {
		t.Fatal(err)
	}
	// Long and short windows, wrapped in any order.
	var deadlines []time.Time
	wraps := map[time.Time][]byte{}
	for _, ahead := range []int{30, 2, 11, 1, 29} {
		deadline := now.Truncate(time.Minute).Add(time.Duration(ahead) * time.Minute)
		wrapped, err := kek.Wrap(deadline, []byte("an epoch's private key"), []byte("epoch"))
		if err != nil {
			t.Fatal(err)
		}
		deadlines, wraps[deadline] = append(deadlines, deadline), wrapped
	}
	for _, at := range []time.Duration{0, time.Minute, 2 * time.Minute, 10 * time.Minute, 29 * time.Minute, 31 * time.Minute} {
		at := now.Truncate(time.Minute).Add(at)
		if err := kek.Advance(at); err != nil {
			t.Fatal(err)
		}
		fresh, err := OpenTransit(config, now) // one that remembers nothing asks the engine itself
		if err != nil {
			t.Fatal(err)
		}
		for _, deadline := range deadlines {
			alive := deadline.After(at)
			got, err := kek.Unwrap(deadline, wraps[deadline], []byte("epoch"))
			if alive != (err == nil) || alive && !bytes.Equal(got, []byte("an epoch's private key")) || !alive && !errors.Is(err, ErrDestroyed) {
				t.Errorf("at %v, deadline %v: %q, %v", at, deadline, got, err)
			}
			if _, err := fresh.Unwrap(deadline, wraps[deadline], []byte("epoch")); alive != (err == nil) {
				t.Errorf("another process at %v, deadline %v: %v", at, deadline, err)
			}
		}
	}
	last := deadlines[0]
	if _, err := kek.Unwrap(last.Add(time.Hour), wraps[last], []byte("another")); err == nil {
		t.Error("a wrap opened for another epoch")
	}
	if _, err := kek.Wrap(last.Add(time.Hour+time.Second), []byte("s"), nil); err == nil || !strings.Contains(err.Error(), "keyring.transit.slot") {
		t.Errorf("a deadline between two slots: %v", err)
	}
}

// A transit that refuses to trim has destroyed nothing.
func TestTransitThatRefusesToTrim(t *testing.T) {
	t.Parallel()
	config, e := testTransit(t)
	if e == nil {
		t.Skip("the stand-in's refusals are needed")
	}
	now := time.Now()
	kek, err := OpenTransit(config, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, refused := range []string{"/rotate", "/config", "/trim"} {
		e.mu.Lock()
		e.refuse = refused
		e.mu.Unlock()
		if err := kek.Advance(now.Add(10 * time.Minute)); err == nil {
			t.Errorf("%s was refused, and Advance says that it is done", refused)
		}
	}
	e.mu.Lock()
	e.refuse = ""
	e.mu.Unlock()
	if err := kek.Advance(now.Add(10 * time.Minute)); err != nil {
		t.Error(err)
	}
}

// An engine that answers well is not believed.
func TestTransitThatLies(t *testing.T) {
	t.Parallel()
	config, e := testTransit(t)
	if e == nil {
		t.Skip("a real engine does not lie")
	}
	now := time.Now()
	kek, err := OpenTransit(config, now)
	if err != nil {
		t.Fatal(err)
	}
	slot := now.Truncate(time.Minute)
	e.lie = "trim"
	if err := kek.Advance(slot.Add(5 * time.Minute)); err == nil {
		t.Error("it says that it has trimmed, and has not: that counts as done")
	}
	e.lie = "encrypt"
	if _, err := kek.Wrap(slot.Add(6*time.Minute), []byte("an epoch's private key"), nil); err == nil {
		t.Error("a version that outlives the deadline was used, and nobody has noticed")
	}
	e.lie = ""
	asked := len(e.calls)
	if _, err := kek.Wrap(slot.Add((transitVersions+2)*time.Minute), []byte("an epoch's private key"), nil); err == nil || len(e.calls) != asked {
		t.Errorf("a deadline far off had the key rotated, with %v", err)
	}
	for _, wrapped := range []string{`vault:v1:","context":"`, "vault:v1:" + strings.Repeat("A", 8192), "another:v1:AAAA", ""} {
		if _, err := kek.Unwrap(slot.Add(7*time.Minute), []byte(wrapped), nil); !errors.Is(err, errUnwrap) {
			t.Errorf("bytes that are no ciphertext: %v", err)
		}
	}
	if len(e.calls) != asked {
		t.Error("bytes that are no ciphertext went to the engine")
	}
}

// An answer is read so far and no further.
func TestTransitAnswersWithoutEnd(t *testing.T) {
	t.Parallel()
	config, e := testTransit(t)
	if e == nil {
		t.Skip("a real engine ends its answers")
	}
	sent := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := 0
		for n < 64<<20 {
			more, err := w.Write(make([]byte, 64<<10))
			if n += more; err != nil {
				break
			}
		}
		sent <- n
	}))
	defer server.Close()
	config.Address = server.URL
	if _, err := OpenTransit(config, time.Now()); err == nil {
		t.Error("it was taken for an engine")
	}
	if n := <-sent; n >= 64<<20 {
		t.Errorf("%d bytes were read", n)
	}
}
