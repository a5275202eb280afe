package warden_test

import (
	"context"
	"errors"
	"net/netip"
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

// hung answers nothing until its caller gives up.
type hung struct {
	*keyring.MemoryNode
	is atomic.Bool
}

var errHung = errors.New("timeout")

func (h *hung) Publish(ctx context.Context, e retention.Epoch, d time.Time, c keyring.Contents) error {
	if h.is.Load() {
		giveUp(ctx)
		return errHung
	}
	return h.MemoryNode.Publish(ctx, e, d, c)
}

func (h *hung) Fetch(ctx context.Context, e retention.Epoch, p keyring.Part) (map[string][]byte, error) {
	if h.is.Load() {
		giveUp(ctx)
		return nil, errHung
	}
	return h.MemoryNode.Fetch(ctx, e, p)
}

func (h *hung) Destroy(ctx context.Context, e retention.Epoch, k time.Duration) error {
	if h.is.Load() {
		giveUp(ctx)
		return errHung
	}
	return h.MemoryNode.Destroy(ctx, e, k)
}

func (h *hung) Epochs(ctx context.Context) ([]retention.Epoch, error) {
	if h.is.Load() {
		giveUp(ctx)
		return nil, errHung
	}
	return h.MemoryNode.Epochs(ctx)
}

// giveUp waits as long as a Redis node's client does.
func giveUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	<-ctx.Done()
}

// behind is a node whose clock is a little behind the warden's.
type behind struct {
	*keyring.MemoryNode
	by time.Duration
}

func (b behind) Publish(ctx context.Context, e retention.Epoch, d time.Time, c keyring.Contents) error {
	if time.Now().Add(-b.by).Before(e.StartTime()) {
		return keyring.ErrNotBegun
	}
	return b.MemoryNode.Publish(ctx, e, d, c)
}

func TestAShortenedWindowReachesWhatIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := start(t)
		time.Sleep(policy.Window)
		synctest.Wait()
		p.stop()
		shorter := policy
		shorter.Window = 6 * time.Second
		p.runWith(t, shorter)
		defer p.stop()
		time.Sleep(shorter.Epoch)
		synctest.Wait()
		now := time.Now()
		n := 0
		for _, e := range shorter.Epochs(now.Add(-policy.Window), now) {
			if _, err := p.ring.Public(context.Background(), e); err == nil && !e.Deadline(shorter.Window).After(now) {
				n++
			}
		}
		if n > 0 {
			t.Fatalf("%d epochs are readable past the shortened window", n)
		}
		for _, e := range shorter.Live(now) {
			keys, err := p.ring.Public(context.Background(), e)
			if err != nil || keys[0].Deadline.After(e.Deadline(shorter.Window)) {
				t.Errorf("epoch %v is wrapped beyond its shortened deadline (%v)", e, err)
			}
		}
		p.store.mu.Lock()
		defer p.store.mu.Unlock()
		if p.store.shortened == 0 {
			t.Fatal("what is stored keeps its old expiry: with all wardens dead it would outlive the window")
		}
	})
}

func TestAWardenThatCannotMintIsNotReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := keyring.NewMemoryNode("a")
		ring, _ := keyring.New(node)
		kek, _ := keyring.NewMemoryKEK(time.Now())
		_ = kek.Advance(time.Now().Add(24 * time.Hour)) // a clock jumped, and was set right
		w, err := warden.New(warden.DefaultConfig(), warden.Dependencies{
			Policies: retention.Policies{policy}, Keyring: ring, KEK: kek, Store: store.NewMemory(),
			Tally:  func(context.Context, retention.Epoch) (tally.Sum, error) { return tally.Sum{}, errors.New("none") },
			Forget: func(retention.Epoch) {}, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = w.Run(ctx); close(done) }()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		epochs, _ := ring.Epochs(ctx)
		ready := w.Ready()
		cancel()
		<-done
		if len(epochs) == 0 && ready == nil {
			t.Fatal("nothing can be minted for a day, and the warden is ready")
		}
	})
}

func TestAHungNodeDelaysNoMint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &post{a: keyring.NewMemoryNode("a"), b: keyring.NewMemoryNode("b"), store: &blocking{Memory: store.NewMemory()}}
		h := &hung{MemoryNode: p.b}
		p.ring, _ = keyring.New(p.a, h)
		long := retention.Policy{Name: "p", Window: 20 * time.Minute, Epoch: 30 * time.Second}
		p.runWith(t, long)
		defer p.stop()
		time.Sleep(5 * time.Second)
		h.is.Store(true)
		time.Sleep(time.Until(long.EpochAt(time.Now()).EndTime()))
		epoch, began := long.EpochAt(time.Now()), time.Now()
		healthy, _ := keyring.New(p.a)
		for time.Since(began) < 5*time.Minute {
			synctest.Wait()
			if _, err := healthy.Public(context.Background(), epoch); err == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if late := time.Since(began); late > 5*time.Second {
			t.Fatalf("one hung node of two: a new epoch's key comes %v late to the healthy one", late)
		}
	})
}

func TestANodeWhoseClockIsBehindLosesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ring, _ := keyring.New(behind{keyring.NewMemoryNode("a"), 20 * time.Millisecond})
		kek, _ := keyring.NewMemoryKEK(time.Now())
		m := store.NewMemory()
		opener := keyring.NewOpener(ring, kek, zap.NewNop())
		reader := store.NewReader(retention.Policies{policy}, opener, m)
		w, err := warden.New(warden.DefaultConfig(), warden.Dependencies{
			Policies: retention.Policies{policy}, Keyring: ring, KEK: kek, Store: m,
			Tally: reader.Tally, Forget: opener.Forget, Log: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { _ = w.Run(ctx); close(done) }()
		time.Sleep(2*policy.Window + time.Second)
		synctest.Wait()
		a, err := reader.Find(ctx, store.Query{Prefix: netip.MustParsePrefix("198.51.0.0/16")})
		cancel()
		<-done
		if err != nil || !a.Complete {
			t.Fatalf("nothing was ever lost, yet complete is %v (%v)", a.Complete, err)
		}
	})
}
