package demo

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"mayfly/cmd/mayfly/embedded"
	"mayfly/cmd/mayfly/process"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
	"mayfly/retention/warden"
)

// endAt cancels once a text has been written.
type endAt struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	text   string
	cancel context.CancelFunc
}

func (w *endAt) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if strings.Contains(string(p), w.text) {
		w.cancel()
	}
	return w.buffer.Write(p)
}

// Ctrl-C ends the traffic, not the promise: what was sent is stored, everything
// is checked, and the summary says so.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &endAt{text: "key destroyed", cancel: cancel}
	c := &Cmd{Duration: new(time.Duration(0)), Window: 3 * time.Second, Epoch: time.Second, Rate: 200, Listen: "127.0.0.1:0", Seed: 1}
	if err := c.run(ctx, out, out); err != nil {
		t.Fatalf("%v\n%s", err, out.buffer.String())
	}
	got := out.buffer.String()
	if !strings.HasSuffix(got, "exit 0: every due epoch was purged and verified\n") {
		t.Errorf("the summary does not end well:\n%s", got)
	}
	if m := regexp.MustCompile(`WRONG|failed|panic`).FindString(got); m != "" {
		t.Errorf("found %q in\n%s", m, got)
	}
}

// Nothing is left of a demo that could not even begin.
func TestDemoInterruptedAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &Cmd{Window: 3 * time.Second, Epoch: time.Second, Rate: 200, Listen: "127.0.0.1:0"}
	var out bytes.Buffer
	if err := c.run(ctx, &out, &out); err == nil {
		t.Error("no error")
	}
}

func TestDemoTakesAnotherPort(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", listen); err == nil { // else somebody has it: just as well
		defer l.Close()
	}
	s := &installation{}
	listener, err := s.listen(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if listener.Addr().String() == listen || len(s.notes) != 1 {
		t.Errorf("listens on %v and says %q", listener.Addr(), s.notes)
	}
	if _, err := s.listen(t.Context(), listener.Addr().String()); err == nil {
		t.Error("a port that somebody chose was replaced")
	}
}

// deadDemo is a demo whose stack is three miniredis and a KEK file: enough to
// be verified. Its one due epoch is clean; a living one holds what it should.
func deadDemo(t *testing.T) (*demo, watchedEpoch) {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	policy := retention.Policy{Name: policyName, Window: 10 * time.Second, Epoch: time.Second}
	due := watchedEpoch{Status: warden.Status{Epoch: policy.EpochAt(now.Add(-30 * time.Second))}, opened: true}
	due.Deadline = due.Epoch.Deadline(policy.Window)

	d := &demo{policy: policy, stack: &installation{kekFile: filepath.Join(t.TempDir(), "kek")}, epochs: &epochWatch{}}
	d.stack.data = startRedis(t)
	for range 2 {
		node, err := redisconn.OpenNode("redis://" + startRedis(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = node.Close() })
		d.epochs.nodes = append(d.epochs.nodes, node)
	}
	if err := keyring.GenerateKEK(d.stack.kekFile, now); err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.OpenKEK(d.stack.kekFile, now)
	if err != nil {
		t.Fatal(err)
	}
	d.stack.process = &process.Process{KEK: kek}
	put(t, d, "mayfly:{"+policy.EpochAt(now).String()+"}", time.Minute)
	return d, due
}

func startRedis(t *testing.T) string {
	t.Helper()
	addr, stop, err := embedded.Miniredis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

// put writes a key into the data Redis; no expiry: for ever.
func put(t *testing.T, d *demo, key string, expiry time.Duration) {
	t.Helper()
	client, err := redisconn.Open(redisconn.Config{Addrs: []string{d.stack.data}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Set(t.Context(), key, "x", expiry).Err(); err != nil {
		t.Fatal(err)
	}
}

// Each thing that a purge could leave behind is seen by the check at the end.
func TestDemoVerifySeesWhatIsLeft(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		leave func(t *testing.T, d *demo, due *watchedEpoch)
		want  string
	}{
		"nothing": {leave: func(*testing.T, *demo, *watchedEpoch) {}},
		"a key on one keyring node": {want: "keyring node 1 still has 1 keys", leave: func(t *testing.T, d *demo, due *watchedEpoch) {
			if err := d.epochs.nodes[1].HSet(t.Context(), keyNames(due.Epoch)[1], "id", "wrapped").Err(); err != nil {
				t.Fatal(err)
			}
		}},
		"a key that a sweep has found before the end": {want: "keyring node 1 still has 1 keys", leave: func(t *testing.T, d *demo, due *watchedEpoch) {
			if err := d.epochs.nodes[1].HSet(t.Context(), keyNames(due.Epoch)[1], "id", "wrapped").Err(); err != nil {
				t.Fatal(err)
			}
			d.epochs.epochs = map[retention.Epoch]*watchedEpoch{due.Epoch: due}
			d.epochs.ask(t.Context(), due.Epoch)
			if err := d.epochs.nodes[1].Del(t.Context(), keyNames(due.Epoch)...).Err(); err != nil {
				t.Fatal(err)
			}
		}},
		"a directory": {want: "still has a key of epoch", leave: func(t *testing.T, d *demo, due *watchedEpoch) {
			put(t, d, "mayfly:{"+due.Epoch.String()+"}", time.Minute)
		}},
		"a chunk": {want: "still has a key of epoch", leave: func(t *testing.T, d *demo, due *watchedEpoch) {
			put(t, d, "mayfly:{"+due.Epoch.String()+"/0123456789abcdef/ip/0}/1", time.Minute)
		}},
		"a key without expiry": {want: "without expiry", leave: func(t *testing.T, d *demo, _ *watchedEpoch) {
			put(t, d, "else", 0)
		}},
		"a key-encryption key that goes back": {want: "still reaches epoch", leave: func(t *testing.T, d *demo, due *watchedEpoch) {
			d.stack.kekFile = filepath.Join(t.TempDir(), "older")
			d.stack.process.KEK = olderKEK(t, due.Deadline.Add(-5*time.Second))
			if err := keyring.GenerateKEK(d.stack.kekFile, time.Now()); err != nil {
				t.Fatal(err)
			}
		}},
		"a check of the keys that sees nothing": {want: "proves nothing", leave: func(_ *testing.T, _ *demo, due *watchedEpoch) {
			due.opened = false
		}},
		"a check of the data that sees nothing": {want: "proves nothing", leave: func(t *testing.T, d *demo, _ *watchedEpoch) {
			d.stack.data = startRedis(t)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, due := deadDemo(t)
			test.leave(t, d, &due)
			var wrong []string
			for _, check := range []func(context.Context, []watchedEpoch) error{d.verifyKeyring, d.verifyData, d.verifyKEK} {
				if err := check(t.Context(), []watchedEpoch{due}); err != nil {
					wrong = append(wrong, err.Error())
				}
			}
			switch got := strings.Join(wrong, "\n"); {
			case test.want == "" && got != "":
				t.Errorf("nothing was left, but: %s", got)
			case len(wrong) > 1 || !strings.Contains(got, test.want):
				t.Errorf("got %q, want %q alone", got, test.want)
			}
		})
	}
}

// olderKEK is a key-encryption key that stands where it stood at an instant.
func olderKEK(t *testing.T, at time.Time) *keyring.KEKFile {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kek")
	if err := keyring.GenerateKEK(file, at); err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.OpenKEK(file, at)
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// No view without a terminal paints.
func TestDemoViewKind(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, json := range []bool{false, true} {
		if newView(json, file, os.Stderr).live() {
			t.Error("a file is taken for a terminal")
		}
	}
}
