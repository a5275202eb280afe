package canary

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/receipts"
	"mayfly/retention/store"
)

// What was sealed before Kafka is copied as Kafka has it, with its wrap, and as Redis
// has it, in both views.
func TestSealedCanaries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		a.atEdge = true
		if _, entry := a.fly(t, a.purge(t)); !entry.Passed() || entry.Frames != 4 || entry.Keys != 2 || entry.Found < 1000 {
			t.Errorf("%+v", entry)
		}
	})
}

// A segment of Kafka by itself is enough to be read, where its key is left.
func TestASegmentThatCanBeReadIsCaught(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, stuck{memoryKEK(t)})
		a.atEdge = true
		a.log = &segmentsAlone{a.reader}
		_, entry := a.fly(t, a.purge(t))
		if entry.Frames != 2 || len(entry.Failures) != 2 || entry.Failures[0] != receipts.FailureKey || entry.Failures[1] != receipts.FailureRead {
			t.Errorf("%+v", entry)
		}
	})
}

// segmentsAlone gives the evidence that lies in Kafka.
type segmentsAlone struct{ *store.Reader }

func (s *segmentsAlone) Evidence(ctx context.Context, e retention.Epoch, q store.Query) ([]store.Evidence, error) {
	all, err := s.Reader.Evidence(ctx, e, q)
	var segments []store.Evidence
	for _, one := range all {
		if one.Wrap.Encapsulated != nil {
			segments = append(segments, one)
		}
	}
	return segments, err
}

// process is one of several that might send.
type process struct {
	*Canaries
	active atomic.Bool
	stop   context.CancelFunc
	ended  chan struct{}
}

func (a *aviary) process(t *testing.T, active bool) *process {
	t.Helper()
	p := &process{ended: make(chan struct{})}
	p.active.Store(active)
	var err error
	p.Canaries, err = New(configured, Dependencies{
		Policies: retention.Policies{policy}, Topics: []string{"t"}, Key: configuredKey(t), Send: a.send, Active: p.active.Load, Log: a.log,
		Keyring: a.ring, KEK: a.kek, Cache: a.opener, Receipts: a, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	p.stop = stop
	go func() {
		defer close(p.ended)
		_ = p.Run(ctx)
	}()
	return p
}

func (p *process) sent() int { return int(testutil.ToFloat64(p.metrics.sent.WithLabelValues("sent"))) }

// purgeAll does as a warden does, epoch for epoch, until ctx ends.
func (a *aviary) purgeAll(t *testing.T) {
	for start := policy.EpochAt(time.Now()); ; start.Start += start.Length {
		if !sleep(t.Context(), time.Until(start.Deadline(policy.Window))) {
			return
		}
		a.purge(t)(start)
	}
}

// Of several processes the active one sends; the next one takes up what it had under
// way, and each canary is tried once.
func TestTheNextProcessTakesCanariesUp(t *testing.T) {
	t.Parallel()
	for name, atEdge := range map[string]bool{"plain": false, "sealed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAviary(t, memoryKEK(t))
				a.atEdge = atEdge
				go a.purgeAll(t)
				first, second := a.process(t, true), a.process(t, false)
				time.Sleep(policy.Window)
				first.active.Store(false) // for a moment: it has its own already
				time.Sleep(2 * turnEvery)
				first.active.Store(true)
				time.Sleep(policy.Window - 2*turnEvery)
				if first.sent() < 6 || second.sent() != 0 {
					t.Fatalf("the active one has sent %d, the other %d", first.sent(), second.sent())
				}
				if tried := a.tried(); tried == 0 || tried > 6 {
					t.Errorf("%d were tried", tried)
				}
				first.active.Store(false)
				time.Sleep(configured.Grace + time.Second/2) // what was sent last is stored, and what is dead was tried
				first.stop()
				<-first.ended
				sent := first.sent()
				second.active.Store(true)
				time.Sleep(2 * policy.Window)
				second.active.Store(false)
				time.Sleep(policy.Window + policy.Epoch)
				second.stop()
				<-second.ended
				if sent += second.sent(); second.sent() == 0 || a.tried() != sent {
					t.Errorf("%d were sent, %d of them by the second, and %d tried", sent, second.sent(), a.tried())
				}
				for _, entry := range a.entries {
					if !entry.Passed() || entry.Frames == 0 || entry.Found < 0 {
						t.Errorf("%+v", entry)
					}
				}
			})
		})
	}
}

func (a *aviary) tried() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.entries)
}

// A process that can't look yet goes on trying, until there is nothing left to find.
func TestTakingUpWaitsForTheLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAviary(t, memoryKEK(t))
		go a.purgeAll(t)
		first := a.process(t, true)
		time.Sleep(policy.Window)
		first.active.Store(false)
		time.Sleep(configured.Grace + time.Second/2)
		first.stop()
		<-first.ended
		down := &away{Reader: a.reader}
		down.away.Store(true)
		a.log = down
		second := a.process(t, true)
		time.Sleep(time.Second)
		second.active.Store(false) // it sends none of its own
		sent, tried := second.sent(), a.tried()
		time.Sleep(2 * time.Second)
		down.away.Store(false)
		time.Sleep(2 * policy.Window)
		if a.tried() <= tried+sent {
			t.Errorf("%d more were tried", a.tried()-tried)
		}
		second.stop()
		<-second.ended
	})
}

type away struct {
	*store.Reader
	away atomic.Bool
}

func (a *away) Find(ctx context.Context, q store.Query) (store.Answer, error) {
	if a.away.Load() {
		return store.Answer{}, errors.New("redis is away")
	}
	return a.Reader.Find(ctx, q)
}
