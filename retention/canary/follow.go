package canary

import (
	"context"
	"crypto/rand"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// held is a canary under way, and what was copied of it while it lived.
type held struct {
	Event
	policy   *retention.Policy
	epoch    retention.Epoch
	deadline time.Time
	found    time.Duration    // from sending; negative: never
	frames   []store.Evidence // that hold it, in either view
	copies   []keyring.Copy
}

// patience is how long a canary may take from Kafka to where it is found.
const patience = time.Minute

func hold(p *retention.Policy, e Event) *held {
	epoch := p.EpochAt(e.Time)
	return &held{Event: e, policy: p, epoch: epoch, deadline: epoch.Deadline(p.Window), found: -1}
}

// follow is a canary's life and death.
func (c *Canaries) follow(ctx context.Context, p *retention.Policy, e Event) {
	h := hold(p, e)
	sent := time.Now()
	if err := c.d.Send(ctx, e); err != nil {
		if ctx.Err() == nil {
			c.metrics.sent.WithLabelValues("failed").Inc()
			c.d.Logger.Warn("a canary could not be sent", zap.String("policy", p.Name), zap.Error(err))
		}
		return
	}
	c.metrics.sent.WithLabelValues("sent").Inc()
	c.seek(ctx, h, sent)
	c.await(ctx, h)
}

// await keeps what can be kept of a living canary, and tries it when it is dead.
func (c *Canaries) await(ctx context.Context, h *held) {
	c.keep(ctx, h)
	defer c.release(h)
	if sleep(ctx, time.Until(h.deadline.Add(c.config.Grace))) {
		c.probe(ctx, h)
	}
}

// queries ask for a canary alone, in each view.
func (h *held) queries() []store.Query {
	ip := h.Address.Reveal()
	return []store.Query{
		{Account: h.Account, From: h.Time, To: h.Time, Policies: []string{h.policy.Name}},
		{Prefix: netip.PrefixFrom(ip, ip.BitLen()), From: h.Time, To: h.Time, Policies: []string{h.policy.Name}},
	}
}

// seek waits until the canary is found in both views.
func (c *Canaries) seek(ctx context.Context, h *held, sent time.Time) {
	last := sent.Add(patience)
	if h.deadline.Before(last) {
		last = h.deadline
	}
	for wait := 50 * time.Millisecond; time.Now().Before(last); wait = min(2*wait, 2*time.Second) {
		if c.isFound(ctx, h) {
			h.found = time.Since(sent)
			c.metrics.found.Observe(h.found.Seconds())
			return
		}
		if !sleep(ctx, min(wait, time.Until(last))) {
			return
		}
	}
	c.metrics.lost.Inc()
	c.d.Logger.Warn("a canary was sent and is not found: events are late, refused or lost",
		zap.Stringer("epoch", h.epoch), zap.Duration("waited", time.Since(sent)))
}

func (c *Canaries) isFound(ctx context.Context, h *held) bool {
	for _, q := range h.queries() {
		answer, err := c.d.Log.Find(ctx, q)
		if err != nil || len(answer.Records) == 0 {
			return false
		}
	}
	return true
}

// keep copies what an attacker could copy now: the canary's frames, and what each
// keyring node has of its epoch.
func (c *Canaries) keep(ctx context.Context, h *held) {
	if ctx.Err() != nil || !time.Now().Before(h.deadline) {
		return
	}
	h.copies, _ = c.d.Keyring.Copies(ctx, h.epoch)
	for _, copied := range h.copies {
		if d := copied.Deadline(); !d.IsZero() && d.Before(h.deadline) {
			h.deadline = d
		}
	}
	if h.found < 0 || c.kept.Load() >= mostKept {
		return
	}
	for _, q := range h.queries() {
		frames, err := c.d.Log.Evidence(ctx, h.epoch, q)
		if err != nil {
			c.d.Logger.Warn("a canary's frames could not be copied", zap.Stringer("epoch", h.epoch), zap.Error(err))
			continue
		}
		for _, f := range frames {
			c.kept.Add(int64(len(f.Bytes())))
			h.frames = append(h.frames, f)
		}
	}
}

func (c *Canaries) release(h *held) {
	for _, f := range h.frames {
		c.kept.Add(-int64(len(f.Bytes())))
	}
}

// wrap is the encapsulated frame key that belongs to a frame.
func (h *held) wrap(f *store.Evidence) []byte {
	if f.Wrap.Encapsulated != nil {
		return f.Wrap.Encapsulated
	}
	for _, copied := range h.copies {
		if wrap := copied.Wrap(f.Place.Key, f.Writer); wrap != nil {
			return wrap
		}
	}
	return nil
}

// places are where the frames were stored.
func (h *held) places() []seal.Place {
	var places []seal.Place
	for _, f := range h.frames {
		place := f.Place
		place.View = place.View.Stored()
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return places
}

// sleep reports whether the time has passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// random is a duration below d.
func random(d time.Duration) time.Duration {
	n, err := rand.Int(rand.Reader, big.NewInt(max(int64(d), 1)))
	if err != nil {
		panic("crypto/rand: " + err.Error()) // it never fails
	}
	return time.Duration(n.Int64())
}
