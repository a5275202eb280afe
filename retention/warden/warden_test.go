package warden_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/store"
	"mayfly/retention/tally"
	"mayfly/retention/warden"
)

var policy = retention.Policy{Name: "p", Window: 20 * time.Second, Epoch: 2 * time.Second}

// post is a warden at work in a bubble, with two keyring nodes.
type post struct {
	*warden.Warden
	a, b    *keyring.MemoryNode
	ring    *keyring.Keyring
	store   *blocking
	metrics *prometheus.Registry
	stop    func()

	receipts warden.Receipts                                           // or nil
	tally    func(context.Context, retention.Epoch) (tally.Sum, error) // or nil
	wrap     func(keyring.KEK) keyring.KEK                             // or nil
}

// blocking is a store whose Unlink can be made to fail.
type blocking struct {
	*store.Memory
	mu        sync.Mutex
	err       error
	shortened int // calls of Shorten

	closed atomic.Bool // it is away: nothing is opened
}

func (b *blocking) Shorten(ctx context.Context, key keyring.Public, deadline time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shortened++
	return b.Memory.Shorten(ctx, key, deadline)
}

func (b *blocking) Open(ctx context.Context, key keyring.Public) error {
	if b.closed.Load() {
		return errors.New("connection refused")
	}
	return b.Memory.Open(ctx, key)
}

func (b *blocking) block(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *blocking) Unlink(ctx context.Context, e retention.Epoch, keys []keyring.Public) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	return b.Memory.Unlink(ctx, e, keys)
}

func start(t *testing.T, change ...func(*post)) *post {
	t.Helper()
	p := &post{
		a: keyring.NewMemoryNode("a"), b: keyring.NewMemoryNode("b"),
		store: &blocking{Memory: store.NewMemory()},
	}
	var err error
	if p.ring, err = keyring.New(p.a, p.b); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(p)
	}
	p.run(t)
	return p
}

func (p *post) run(t *testing.T) {
	t.Helper()
	p.runWith(t, policy)
}

func (p *post) runWith(t *testing.T, policies ...retention.Policy) {
	t.Helper()
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if p.tally == nil {
		p.tally = func(context.Context, retention.Epoch) (tally.Sum, error) {
			return tally.Sum{Counts: tally.Counts{Stored: 1_000_000}}, nil
		}
	}
	p.metrics = prometheus.NewRegistry()
	used := kek
	if p.wrap != nil {
		used = p.wrap(kek)
	}
	p.Warden, err = warden.New(warden.DefaultConfig(), warden.Dependencies{
		Policies: policies, Keyring: p.ring, KEK: used, Store: p.store,
		Tally:      p.tally,
		Forget:     func(retention.Epoch) {},
		Receipts:   p.receipts,
		Log:        zap.NewNop(),
		Registerer: p.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	p.stop = func() { cancel(); <-done }
}

func (p *post) overdue(t *testing.T) float64 {
	t.Helper()
	families, err := p.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "mayfly_retention_overdue_epochs" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no such gauge")
	return 0
}

// holding counts the epochs of the past two windows that a keyring node still holds.
func (p *post) holding() (due, living int) {
	now := time.Now()
	for _, epoch := range policy.Epochs(now.Add(-2*policy.Window), now) {
		if _, holding := p.ring.Holding(context.Background(), epoch); holding > 0 {
			if epoch.Deadline(policy.Window).After(now) {
				living++
			} else {
				due++
			}
		}
	}
	return due, living
}

func TestZeroTrafficEpochsArePurgedOnTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		defer p.stop()
		for range 30 {
			time.Sleep(policy.Epoch)
			synctest.Wait()
			if due, living := p.holding(); due != 0 || living != 10 {
				t.Fatalf("%d due epochs have keys, %d of 10 living ones", due, living)
			}
		}
		purged := 0
		for _, s := range p.Epochs() {
			if s.Purged {
				purged++
				if s.Lag < 0 || s.Lag > time.Millisecond {
					t.Errorf("epoch %v purged %v after its deadline", s.Epoch, s.Lag)
				}
			}
		}
		if purged < 10 || p.overdue(t) != 0 || p.Ready() != nil {
			t.Fatalf("%d purged, %v overdue, %v", purged, p.overdue(t), p.Ready())
		}
	})
}

func TestAPurgeThatIsBlockedIsAFailure(t *testing.T) {
	t.Parallel()
	readOnly := errors.New("READONLY You can't write against a read only replica.")
	for name, block := range map[string]func(*post, error){
		"one keyring node": func(p *post, err error) { p.b.Fail(err) },
		"the store":        func(p *post, err error) { p.store.block(err) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t)
				defer p.stop()
				time.Sleep(policy.Window)
				block(p, readOnly)
				time.Sleep(5 * policy.Epoch)
				synctest.Wait()
				if p.overdue(t) < 4 || p.Ready() == nil {
					t.Fatalf("a blocked purge counts as done: %v overdue, %v", p.overdue(t), p.Ready())
				}
				block(p, nil)
				time.Sleep(time.Second)
				synctest.Wait()
				if due, _ := p.holding(); due != 0 || p.overdue(t) != 0 || p.Ready() != nil {
					t.Fatalf("the backlog did not converge: %v overdue, %v", p.overdue(t), p.Ready())
				}
			})
		})
	}
}

// pretender is a node that says that it has destroyed, and has not; or says nothing
// when it is asked.
type pretender struct {
	*keyring.MemoryNode
	silent bool
}

func (pretender) Destroy(context.Context, retention.Epoch, time.Duration) error { return nil }

func (p pretender) Publish(ctx context.Context, e retention.Epoch, _ time.Time, c keyring.Contents) error {
	return p.MemoryNode.Publish(ctx, e, time.Now().Add(1000*time.Hour), c)
}

func (p pretender) Fetch(ctx context.Context, e retention.Epoch, part keyring.Part) (map[string][]byte, error) {
	if p.silent && !e.Deadline(policy.Window).After(time.Now()) {
		return nil, errors.New("i/o timeout")
	}
	return p.MemoryNode.Fetch(ctx, e, part)
}

func TestAPurgeIsBelievedOnceItIsSeen(t *testing.T) {
	t.Parallel()
	for name, silent := range map[string]bool{"the node holds it": false, "the node does not tell": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := start(t, func(p *post) { p.ring, _ = keyring.New(p.a, pretender{p.b, silent}) })
				defer p.stop()
				time.Sleep(policy.Window + policy.Epoch)
				synctest.Wait()
				if p.overdue(t) == 0 || p.Ready() == nil {
					t.Error("it counts as purged because the node said so")
				}
			})
		})
	}
}

// Where no node answers from the beginning, nobody is active; so everybody is, and
// fails aloud.
func TestAWardenWithoutNodesFailsAloud(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t, func(p *post) { p.a.Fail(errCut); p.b.Fail(errCut) })
		defer p.stop()
		time.Sleep(time.Second)
		synctest.Wait()
		if !p.Active() || p.Ready() == nil {
			t.Errorf("active %v, %v", p.Active(), p.Ready())
		}
	})
}

func TestAWardenThatWasAwayPurgesWhatCameDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		time.Sleep(policy.Window)
		p.stop()
		// A node that forgot its expiries: only a warden ends these keys.
		hoard := &hoarding{p.a}
		p.ring, _ = keyring.New(hoard, p.b)
		p.run(t)
		time.Sleep(policy.Epoch)
		synctest.Wait()
		p.stop()
		time.Sleep(3 * policy.Epoch)
		p.run(t)
		defer p.stop()
		synctest.Wait()
		if due, _ := p.holding(); due != 0 {
			t.Fatalf("%d due epochs were left alone", due)
		}
	})
}

// hoarding is a node whose keys never expire by themselves.
type hoarding struct{ *keyring.MemoryNode }

func (h *hoarding) Publish(ctx context.Context, e retention.Epoch, _ time.Time, c keyring.Contents) error {
	return h.MemoryNode.Publish(ctx, e, time.Now().Add(1000*time.Hour), c)
}

func TestAnEmptyNodeIsRepaired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		defer p.stop()
		time.Sleep(policy.Window / 2)
		p.b.Lose()
		time.Sleep(12 * time.Second)
		synctest.Wait()
		for _, s := range p.Epochs() {
			if !s.Purged && s.Nodes != 2 && time.Since(s.Epoch.StartTime()) > 12*time.Second {
				t.Fatalf("epoch %v is on %d nodes", s.Epoch, s.Nodes)
			}
		}
		if _, living := p.holding(); living == 0 {
			t.Fatal("no living epoch")
		}
		only, _ := keyring.New(p.b)
		for _, epoch := range policy.Live(time.Now()) {
			if _, err := only.Public(context.Background(), epoch); err != nil {
				t.Fatalf("epoch %v: %v", epoch, err)
			}
		}
	})
}

func TestEpochsOfARemovedPolicyStayDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		time.Sleep(policy.Window)
		p.stop()
		p.runWith(t, retention.Policy{Name: "another", Window: time.Hour})
		defer p.stop()
		time.Sleep(policy.Window + time.Second)
		synctest.Wait()
		purged := 0
		for _, s := range p.Epochs() {
			if s.Epoch.Policy == policy.Name && s.Purged && s.Lag < time.Second {
				purged++
			}
		}
		if due, _ := p.holding(); due != 0 || purged < 9 {
			t.Fatalf("%d due epochs have keys, %d were purged and verified", due, purged)
		}
	})
}

// Until every living epoch has been seen to, look-ups would call it incomplete.
func TestNotReadyBeforeTheFirstRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		defer p.stop()
		if p.Ready() == nil {
			t.Error("ready before any epoch was seen to")
		}
		synctest.Wait()
		if err := p.Ready(); err != nil {
			t.Errorf("after the first round: %v", err)
		}
	})
}
