// Package witness has C2SP witnesses cosign the checkpoints of a receipt log
// (https://c2sp.org/tlog-witness), in the background: a log of which each
// witness remembers the latest head can be neither rewritten nor shown in two
// versions without one of them refusing. Package cmd imports it.
//
// The invariant: nothing waits for a witness. Entries are written, purges done and
// look-ups answered whether or not one answers; what its silence costs is the
// log's standing, see Witnessed.
package witness

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts"
)

// Log is what is witnessed.
type Log interface {
	// Head is the latest checkpoint that was published.
	Head() receipts.Head
	// Prove shows that the log of from entries is the beginning of the one under head.
	Prove(from int64, head receipts.Head) ([]tlog.Hash, error)
	// Cosigned publishes a head with the cosignatures on it; keep: enough of them.
	Cosigned(text []byte, keep bool) error
	// Watch gives a channel that is woken by entries of the types.
	Watch(types ...string) <-chan struct{}
}

// Dependencies are what Witnesses are given.
type Dependencies struct {
	Log        Log
	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept but not exposed
}

// Witnesses are those of one log.
type Witnesses struct {
	config  receipts.Config
	d       Dependencies
	metrics *metrics
	peers   []*peer

	mu      sync.Mutex // guards what follows
	latest  time.Time  // when enough witnesses had cosigned one head
	quarrel error      // why not lately
}

// New checks the configuration and asks nobody.
func New(config receipts.Config, d Dependencies) (*Witnesses, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	w := &Witnesses{config: config, d: d, metrics: m}
	client := &http.Client{
		Timeout: patience,
		// What was sent on would be another request.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, c := range config.Witnesses {
		p, err := newPeer(c, client)
		if err != nil {
			return nil, err
		}
		w.peers = append(w.peers, p)
		m.show(p)
	}
	return w, nil
}

const (
	patience  = 10 * time.Second // with one request
	leastGap  = time.Second      // between rounds, however often something is purged
	firstWait = time.Second      // after a failure; it doubles
	worstWait = 10 * time.Minute
)

// Run asks the witnesses at each interval and after each purge, until ctx ends.
func (w *Witnesses) Run(ctx context.Context) error {
	if len(w.peers) == 0 {
		return nil
	}
	purged := w.d.Log.Watch(receipts.TypePurged)
	for {
		began := time.Now()
		w.round(ctx, began)
		if !sleep(ctx, leastGap, nil) || !sleep(ctx, w.rest(began), purged) {
			return nil
		}
	}
}

// sleep reports false once ctx is done; woken ends it early.
func sleep(ctx context.Context, d time.Duration, woken <-chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
	case <-woken:
	}
	return true
}

// rest is how long until the next round, if nothing is purged: an interval, or
// until a witness that failed is to be asked again.
func (w *Witnesses) rest(began time.Time) time.Duration {
	next := began.Add(w.config.WitnessInterval)
	for _, p := range w.peers {
		if p.failures > 0 && p.notBefore.Before(next) {
			next = p.notBefore
		}
	}
	return time.Until(next)
}

// round has the present head cosigned by every witness that can be asked, and
// publishes what comes back.
func (w *Witnesses) round(ctx context.Context, now time.Time) {
	head := w.d.Log.Head()
	lines := make([][]byte, len(w.peers))
	var asked sync.WaitGroup
	for i, p := range w.peers {
		if now.Before(p.notBefore) {
			continue
		}
		asked.Go(func() {
			var err error
			if lines[i], err = p.cosign(ctx, w.d.Log, head); ctx.Err() == nil {
				w.note(p, err, now)
			}
		})
	}
	asked.Wait()
	if ctx.Err() != nil {
		return
	}
	text, count := head.Text, 0
	for _, line := range lines {
		if line != nil {
			text, count = append(text[:len(text):len(text)], line...), count+1
		}
	}
	w.settle(text, count, head)
}

// note keeps how a witness answered, and says so where that has changed.
func (w *Witnesses) note(p *peer, err error, now time.Time) {
	before := p.reason
	p.settle(now, err)
	w.metrics.show(p)
	witness := zap.String("witness", p.name)
	switch {
	case p.reason == before:
	case err == nil:
		w.d.Logger.Info("a witness cosigns the receipt log again", witness)
	case p.reason == reasonForked:
		w.d.Logger.Error("a witness refuses the receipt log", witness, zap.Error(err))
	default:
		w.d.Logger.Warn("a witness does not cosign the receipt log; asking again", witness, zap.Error(err))
	}
}

// settle publishes a head with count cosignatures.
func (w *Witnesses) settle(text []byte, count int, head receipts.Head) {
	enough := count >= w.config.Needed()
	var err error
	if count > 0 {
		err = w.d.Log.Cosigned(text, enough)
	}
	if err != nil {
		w.d.Logger.Warn("a cosigned checkpoint could not be published", zap.Error(err))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !enough || err != nil {
		w.quarrel = cmp.Or(err, fmt.Errorf("%d of the %d witnesses needed have cosigned the latest checkpoint", count, w.config.Needed()))
		return
	}
	w.latest, w.quarrel = time.Now(), nil
	w.metrics.entries.Set(float64(head.Size))
}

// Witnessed is nil while enough witnesses have lately cosigned one head of the
// log; else it says what is missing.
func (w *Witnesses) Witnessed(now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case len(w.peers) == 0:
		return errNobody
	case now.Sub(w.latest) <= 3*w.config.WitnessInterval+patience:
		return nil
	}
	return cmp.Or(w.quarrel, errNotYet)
}
