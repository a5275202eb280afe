package keyring

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"mayfly/retention"
)

// ahead is a node whose clock is ahead of this machine's.
type ahead struct {
	*MemoryNode
	by time.Duration
}

func (a ahead) Lives(ctx context.Context, epochs ...retention.Epoch) (time.Time, []Life, error) {
	now, lives, err := a.MemoryNode.Lives(ctx, epochs...)
	for i := range lives {
		if lives[i].Remaining -= a.by; lives[i].Remaining <= 0 {
			lives[i].Held = false
		}
	}
	return now.Add(a.by), lives, err
}

// reading is an opener with boot time that a test sets.
type reading struct {
	*Opener
	ring *Keyring
	kek  KEK
	mu   sync.Mutex // guards up
	up   time.Duration
}

func read(t *testing.T, nodes ...Node) *reading {
	t.Helper()
	r := &reading{kek: testKEK()}
	var err error
	if r.ring, err = New(nodes...); err != nil {
		t.Fatal(err)
	}
	r.Opener = NewOpener(r.ring, r.kek, zap.NewNop())
	r.boot = func() time.Duration {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.up
	}
	return r
}

func (r *reading) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.up += d
}

// The desk's clock stands still, or is far behind: the node's own count ends the key.
func TestAKeyEndsByTheNodesClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := read(t, ahead{NewMemoryNode("a"), 40 * time.Second})
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, r.ring, r.kek, epoch); err != nil {
			t.Fatal(err)
		}
		remaining := time.Until(epoch.Deadline(minute.Window)) - 40*time.Second
		keys, err := r.Keys(t.Context(), epoch)
		if err != nil || !keys[0].Alive() {
			t.Fatal(err)
		}
		r.pass(remaining)
		if keys[0].Alive() {
			t.Error("what a look-up has found is given although the epoch is over")
		}
		if again, _ := r.cached(t.Context(), epoch); again != nil {
			t.Error("the cache serves a key that is over")
		}
		time.Sleep(remaining) // as the node's clock does
		if _, err := r.Keys(t.Context(), epoch); err == nil {
			t.Error("a key was taken anew although the node says that it is over")
		}
	})
}

// Its deadline is brought forward, or it is purged, after it was cached.
func TestACacheLearnsThatItsKeyEndsSooner(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*reading, retention.Epoch) error{
		"shortened": func(r *reading, e retention.Epoch) error {
			return r.ring.Shorten(context.Background(), e, time.Now().Add(10*time.Second), r.kek)
		},
		"purged": func(r *reading, e retention.Epoch) error {
			return r.ring.Destroy(context.Background(), e, time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := read(t, NewMemoryNode("a"), NewMemoryNode("b"))
				epoch := minute.EpochAt(time.Now())
				if err := mint(t, r.ring, r.kek, epoch); err != nil {
					t.Fatal(err)
				}
				keys, err := r.Keys(t.Context(), epoch)
				if err != nil {
					t.Fatal(err)
				}
				if err := end(r, epoch); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				go func() { _ = r.Run(ctx) }()
				for range 12 {
					time.Sleep(time.Second)
					synctest.Wait()
					r.pass(time.Second)
				}
				if keys[0].Alive() || r.Holds(epoch) && time.Until(epoch.Deadline(minute.Window)) > 15*time.Second {
					t.Error("a cached key outlives the end that the keyring knows")
				}
			})
		})
	}
}

// Nobody asks in the background, or this machine slept: the next use does.
func TestAStaleCacheAsksBeforeItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := read(t, NewMemoryNode("a"))
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, r.ring, r.kek, epoch); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Keys(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		if err := r.ring.Destroy(t.Context(), epoch, time.Minute); err != nil {
			t.Fatal(err)
		}
		r.pass(4 * askEvery)
		if _, err := r.Keys(t.Context(), epoch); err == nil {
			t.Error("a cache that nobody has compared for long serves a purged key")
		}
	})
}

// What the nodes lose stays open for those who have it: nothing says that it is over.
func TestACacheOutlivesALoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		node := NewMemoryNode("a")
		r := read(t, node)
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, r.ring, r.kek, epoch); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Keys(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		for _, lose := range []func(){node.Lose, func() { node.Fail(errors.New("away")) }} {
			lose()
			r.ask(t.Context(), epoch)
			if keys, err := r.Keys(t.Context(), epoch); err != nil || !keys[0].Alive() {
				t.Errorf("a cached key is gone with its node: %v", err)
			}
		}
	})
}

func TestAClockThatDiffersFromMostNodes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ahead  []time.Duration
		inTime bool
	}{
		"all agree":          {[]time.Duration{0, time.Second}, true},
		"one of two is off":  {[]time.Duration{0, time.Hour}, true},
		"we are behind":      {[]time.Duration{time.Hour, time.Hour, 0}, false},
		"we are ahead":       {[]time.Duration{-time.Minute}, false},
		"within the skew":    {[]time.Duration{30 * time.Second}, true},
		"one of three is so": {[]time.Duration{0, 0, -time.Hour}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var nodes []Node
				for i, by := range test.ahead {
					nodes = append(nodes, ahead{NewMemoryNode(string(rune('a' + i))), by})
				}
				r := read(t, nodes...)
				registry := prometheus.NewRegistry()
				if err := r.Watch(40*time.Second, registry); err != nil {
					t.Fatal(err)
				}
				r.ask(t.Context())
				if r.InTime() != test.inTime {
					t.Errorf("in time: %v", r.InTime())
				}
				if n := testutil.CollectAndCount(r.metrics); n != len(nodes) {
					t.Errorf("%d peers in mayfly_clock_skew_seconds", n)
				}
			})
		})
	}
}
