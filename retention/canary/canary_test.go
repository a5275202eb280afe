package canary

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

var policy = retention.Policy{Name: "p", Window: 20 * time.Second, Epoch: 5 * time.Second}

var configured = Config{
	Ranges: []string{"192.0.2.0/24", "2001:db8:7::/48"}, AccountFormat: "user-%%%%%%%%%%%%", KeyFile: "key", Grace: 3 * time.Second,
}

// aviary is a small Mayfly in a bubble: what a canary is sent to is stored, and
// purged at its deadline as a warden does it.
type aviary struct {
	kek    keyring.KEK
	nodes  []*keyring.MemoryNode
	ring   *keyring.Keyring
	store  *store.Memory
	opener *keyring.Opener
	reader *store.Reader
	writer *store.Writer
	rows   int64

	log        Log
	registry   *prometheus.Registry
	mu         sync.Mutex // guards entries
	entries    []*receipts.Canary
	storing    sync.Mutex // guards rows and the writer
	dropEvents bool
	atEdge     bool            // they are sealed before Kafka
	cache      Cache           // or nil: the opener
	sooner     time.Duration   // by which its keys end before the policy's deadline
	prepare    func(*Canaries) // or nil
}

// hoarder is a keyring node that goes on giving what it once had.
type hoarder struct {
	*keyring.MemoryNode
	had map[keyring.Part]map[string][]byte
}

func (h *hoarder) Fetch(ctx context.Context, e retention.Epoch, part keyring.Part) (map[string][]byte, error) {
	fields, err := h.MemoryNode.Fetch(ctx, e, part)
	if len(fields) > 0 {
		h.had[part] = fields
	}
	return h.had[part], err
}

// stuck is a key-encryption key that nobody moves on.
type stuck struct{ keyring.KEK }

func (stuck) Advance(time.Time) error { return nil }

func newAviary(t *testing.T, kek keyring.KEK, nodes ...keyring.Node) *aviary {
	t.Helper()
	a := &aviary{kek: kek, store: store.NewMemory(), registry: prometheus.NewRegistry()}
	if len(nodes) == 0 {
		a.nodes = []*keyring.MemoryNode{keyring.NewMemoryNode("a"), keyring.NewMemoryNode("b")}
		nodes = []keyring.Node{a.nodes[0], a.nodes[1]}
	}
	var err error
	if a.ring, err = keyring.New(nodes...); err != nil {
		t.Fatal(err)
	}
	a.opener = keyring.NewOpener(a.ring, kek, zap.NewNop())
	a.reader = store.NewReader(retention.Policies{policy}, a.opener, a.store)
	a.writer = store.NewWriter(a.ring, a.store)
	a.log = a.reader
	return a
}

func memoryKEK(t *testing.T) keyring.KEK {
	t.Helper()
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return kek
}

// send stores an event as ingest would, one second later.
func (a *aviary) send(ctx context.Context, e Event) error {
	epoch := policy.EpochAt(e.Time)
	_, err := a.ring.Mint(ctx, epoch, epoch.Deadline(policy.Window).Add(-a.sooner), a.kek, func() uint32 { return 4 },
		func(key keyring.Public) error { return a.store.Open(ctx, key) })
	if err != nil || a.dropEvents {
		return err
	}
	time.AfterFunc(time.Second, func() {
		a.storing.Lock()
		defer a.storing.Unlock()
		a.rows++
		batch := store.Batch{Epoch: epoch, Deadline: epoch.Deadline(policy.Window), Records: []record.Record{{
			ID: record.ID{Offset: a.rows}, Time: e.Time.UnixMilli(), Account: e.Account, Address: e.Address,
			Ports: record.Ports{First: e.Port, Last: e.Port, Known: true},
		}}}
		if a.atEdge {
			batch = a.sealed(ctx, batch)
		}
		sealed, err := a.writer.Seal(ctx, []store.Batch{batch})
		if err == nil {
			err = a.writer.Append(ctx, sealed)
		}
		if err != nil {
			panic(err)
		}
	})
	return nil
}

// sealed is a batch that was sealed before Kafka.
func (a *aviary) sealed(ctx context.Context, plain store.Batch) store.Batch {
	keys, err := a.ring.Public(ctx, plain.Epoch)
	if err != nil {
		panic(err)
	}
	edge, err := store.NewEdge(keys[0])
	if err != nil {
		panic(err)
	}
	batch, err := seal.ParseBatch(edge.Seal(nil, plain.Records))
	if err != nil {
		panic(err)
	}
	return store.Batch{Epoch: plain.Epoch, Deadline: plain.Deadline, Edge: &store.EdgeBatch{Batch: batch, ID: record.ID{Offset: a.rows}}}
}

// Record keeps the entries.
func (a *aviary) Record(_ context.Context, entries ...receipts.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entries {
		entry := e.(*receipts.Canary)
		entry.Time = time.Now()
		if _, err := receipts.Marshal(entry); err != nil {
			return err
		}
		a.entries = append(a.entries, entry)
	}
	return nil
}

func configuredKey(t *testing.T) *Key {
	t.Helper()
	return testKey(t, 7, configured.AccountFormat, configured.Ranges...)
}

// fly sends canaries for one epoch and tries them; steps are what the warden does
// at each deadline.
func (a *aviary) fly(t *testing.T, steps func(retention.Epoch)) (*Canaries, *receipts.Canary) {
	t.Helper()
	key := configuredKey(t)
	cache := a.cache
	if cache == nil {
		cache = a.opener
	}
	c, err := New(configured, Dependencies{
		Policies: retention.Policies{policy}, Topics: []string{"t"}, Key: key, Send: a.send, Log: a.log,
		Keyring: a.ring, KEK: a.kek, Cache: cache, Receipts: a, Logger: zap.NewNop(), Registerer: a.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.prepare != nil {
		a.prepare(c)
	}
	connection, err := key.Draw()
	if err != nil {
		t.Fatal(err)
	}
	e := Event{Connection: connection, Time: time.UnixMilli(time.Now().UnixMilli()), Topic: "t"}
	epoch := policy.EpochAt(e.Time)
	time.AfterFunc(time.Until(epoch.Deadline(policy.Window)), func() { steps(epoch) })
	c.follow(t.Context(), &policy, e)
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.entries) != 1 {
		t.Fatalf("%d receipts", len(a.entries))
	}
	return c, a.entries[0]
}

// purge is what a warden does at a deadline.
func (a *aviary) purge(t *testing.T) func(retention.Epoch) {
	return func(e retention.Epoch) {
		if err := a.kek.Advance(time.Now()); err != nil {
			t.Error(err)
		}
		if err := a.ring.Destroy(t.Context(), e, policy.Window); err != nil {
			t.Error(err)
		}
		a.opener.Forget(e)
		if err := a.store.Unlink(t.Context(), e, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestCanaryIsFoundAndGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		c, entry := a.fly(t, a.purge(t))
		if !entry.Passed() || entry.Frames != 2 || entry.Keys != 2 || entry.Nodes != 2 || entry.Caches != 1 || entry.Found < 1000 || entry.Found > 3000 {
			t.Errorf("%+v", entry)
		}
		if f := c.Findings(time.Now()); len(f) != 1 || f[0].Verdict != keyring.Pass {
			t.Errorf("%v", f)
		}
		if n := testutil.ToFloat64(c.metrics.failures); n != 0 || testutil.CollectAndCount(c.metrics.found) != 1 {
			t.Errorf("%v failures", n)
		}
	})
}

// Each way of cheating, or of failing, is seen for what it is.
func TestWhatOutlivesItsDeadlineIsCaught(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sabotage func(t *testing.T) (*aviary, func(retention.Epoch))
		want     []string
	}{
		"nobody purges, and the key-encryption key stands still": {
			func(t *testing.T) (*aviary, func(retention.Epoch)) {
				return newAviary(t, stuck{memoryKEK(t)}), func(retention.Epoch) {}
			},
			[]string{receipts.FailureKey, receipts.FailureCache, receipts.FailureRead},
		},
		"a node keeps a copy": {
			func(t *testing.T) (*aviary, func(retention.Epoch)) {
				a := newAviary(t, memoryKEK(t), keyring.NewMemoryNode("a"),
					&hoarder{keyring.NewMemoryNode("b"), map[keyring.Part]map[string][]byte{}})
				return a, a.purge(t)
			},
			[]string{receipts.FailureEntry},
		},
		"a process forgets nothing": {
			func(t *testing.T) (*aviary, func(retention.Epoch)) {
				a := newAviary(t, memoryKEK(t))
				return a, func(e retention.Epoch) {
					_ = a.kek.Advance(time.Now())
					_ = a.ring.Destroy(t.Context(), e, policy.Window)
				}
			},
			[]string{receipts.FailureCache, receipts.FailureRead},
		},
		"the store keeps chunks": {
			func(t *testing.T) (*aviary, func(retention.Epoch)) {
				a := newAviary(t, memoryKEK(t))
				a.log = &keeping{a.reader}
				return a, a.purge(t)
			},
			[]string{receipts.FailureChunks},
		},
		"a look-up shows what is dead": {
			func(t *testing.T) (*aviary, func(retention.Epoch)) {
				a := newAviary(t, memoryKEK(t))
				a.log = &undead{Reader: a.reader, seen: map[string]store.Answer{}}
				return a, a.purge(t)
			},
			[]string{receipts.FailureFound},
		},
		"an old state of the key-encryption key is put back": {
			func(t *testing.T) (*aviary, func(retention.Epoch)) {
				path := filepath.Join(t.TempDir(), "kek")
				if err := keyring.GenerateKEK(path, time.Now()); err != nil {
					t.Fatal(err)
				}
				backup, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				kek, err := keyring.OpenKEK(path, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				a := newAviary(t, kek)
				return a, func(e retention.Epoch) {
					a.purge(t)(e)
					if err := os.WriteFile(path, backup, 0o600); err != nil {
						t.Error(err)
					}
				}
			},
			[]string{receipts.FailureKey, receipts.FailureRead},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, steps := test.sabotage(t)
				c, entry := a.fly(t, steps)
				if diff := cmp.Diff(test.want, entry.Failures); diff != "" {
					t.Error(diff)
				}
				if n := testutil.ToFloat64(c.metrics.failures); n != 1 {
					t.Errorf("%v failures are counted", n)
				}
				if f := c.Findings(time.Now()); f[0].Verdict != keyring.Fail {
					t.Errorf("%v", f)
				}
				if f := c.Findings(time.Now().Add(policy.Window)); f[0].Verdict == keyring.Fail {
					t.Errorf("a window later: %v", f)
				}
			})
		})
	}
}

// keeping is a store that has something left of everything.
type keeping struct{ *store.Reader }

func (*keeping) Remains(context.Context, retention.Epoch, []seal.Place) (int, error) { return 1, nil }

// undead answers as it did before.
type undead struct {
	*store.Reader
	seen map[string]store.Answer
}

func (u *undead) Find(ctx context.Context, q store.Query) (store.Answer, error) {
	answer, err := u.Reader.Find(ctx, q)
	if len(answer.Records) > 0 {
		u.seen[q.Account+q.Prefix.String()] = answer
	}
	return u.seen[q.Account+q.Prefix.String()], err
}

// An event that never arrives is counted, and its epoch's keys are tried all the same.
func TestLostCanary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, stuck{memoryKEK(t)})
		a.dropEvents = true
		c, entry := a.fly(t, func(retention.Epoch) {})
		if entry.Found != -1 || entry.Frames != 0 || testutil.ToFloat64(c.metrics.lost) != 1 {
			t.Errorf("%+v", entry)
		}
		if slices.Contains(entry.Failures, receipts.FailureRead) {
			t.Errorf("%v: there is nothing to read", entry.Failures)
		}
	})
}

// A node that is away is no proof of anything.
func TestUnansweredIsNoPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		c, entry := a.fly(t, func(e retention.Epoch) {
			a.purge(t)(e)
			a.nodes[1].Fail(context.DeadlineExceeded)
		})
		if entry.Passed() || len(entry.Failures) > 0 || entry.Unanswered != 1 || entry.Nodes != 1 {
			t.Errorf("%+v", entry)
		}
		if f := c.Findings(time.Now()); f[0].Verdict != keyring.Unattested {
			t.Errorf("%v", f)
		}
	})
}

// Run sends one for each epoch, and ends without leaving anything behind.
func TestRunSendsOnePerEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		var sent []Event
		c, err := New(configured, Dependencies{
			Policies: retention.Policies{policy}, Topics: []string{"t"}, Key: configuredKey(t), Log: a.log,
			Send:    func(_ context.Context, e Event) error { sent = append(sent, e); return context.DeadlineExceeded },
			Keyring: a.ring, KEK: a.kek, Cache: a.opener, Receipts: a, Logger: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*policy.Epoch)
		defer stop()
		if err := c.Run(ctx); err != nil {
			t.Error(err)
		}
		epochs := map[retention.Epoch]int{}
		for _, e := range sent {
			epochs[policy.EpochAt(e.Time)]++
		}
		if len(sent) < 10 || len(sent) > 11 || len(epochs) != len(sent) {
			t.Errorf("%d canaries in %d epochs", len(sent), len(epochs))
		}
	})
}

// A process that takes a dead epoch for a living one has its keys.
func TestAProcessThatIsBehindIsCaught(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		a.cache = &memory{err: keyring.ErrAlive}
		if _, entry := a.fly(t, a.purge(t)); !slices.Equal(entry.Failures, []string{receipts.FailureCache}) {
			t.Errorf("%+v", entry)
		}
	})
}

// A window that was shortened ends a canary, too: it is tried at its key's deadline.
func TestACanaryEndsWithItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		a.sooner = 5 * time.Second
		_, entry := a.fly(t, a.purge(t))
		if want := entry.Epoch.Deadline(policy.Window).Add(-a.sooner); !entry.Deadline.Equal(want) || entry.At.After(want.Add(2*configured.Grace)) {
			t.Errorf("its deadline was %v, want %v: %+v", entry.Deadline, want, entry)
		}
	})
}

// The frames that are kept are bounded, and given back.
func TestKeptFramesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		a.prepare = func(c *Canaries) { c.kept.Store(mostKept) }
		c, entry := a.fly(t, a.purge(t))
		if entry.Frames != 0 || !entry.Passed() || c.kept.Load() != mostKept {
			t.Errorf("%+v, %d bytes kept", entry, c.kept.Load())
		}
		a = newAviary(t, memoryKEK(t))
		if c, entry = a.fly(t, a.purge(t)); entry.Frames == 0 || c.kept.Load() != 0 {
			t.Errorf("%+v, %d bytes kept", entry, c.kept.Load())
		}
	})
}

// A probe that the end of the process cuts off says nothing of what it tried.
func TestAProbeThatIsCutOffLeavesNoReceipt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		var probing *Canaries
		a.prepare = func(c *Canaries) { probing = c }
		_, first := a.fly(t, a.purge(t))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		probing.probe(ctx, &held{policy: &policy, epoch: first.Epoch, deadline: first.Deadline, found: -1})
		if len(a.entries) != 1 {
			t.Errorf("%d receipts: %+v", len(a.entries), a.entries[len(a.entries)-1])
		}
	})
}
