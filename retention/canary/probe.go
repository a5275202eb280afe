package canary

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// How often a probe is repeated where somebody has not answered.
const (
	tries      = 6
	retryAfter = 10 * time.Second
	tryTimeout = 30 * time.Second
)

// probe tries a canary after its deadline and writes down what that came to.
func (c *Canaries) probe(ctx context.Context, h *held) {
	var entry *receipts.Canary
	for try := range tries {
		if try > 0 && !sleep(ctx, retryAfter) {
			return
		}
		entry = c.attack(ctx, h)
		if ctx.Err() != nil {
			return // what was cut off says nothing
		}
		if len(entry.Failures) > 0 || entry.Unanswered == 0 {
			break
		}
	}
	c.settle(h, entry)
	if c.d.Receipts == nil {
		return
	}
	if err := c.d.Receipts.Record(ctx, entry); err != nil {
		c.d.Logger.Error("the receipt of a canary could not be written", zap.Stringer("epoch", h.epoch), zap.Error(err))
	}
}

// settle counts and logs the outcome.
func (c *Canaries) settle(h *held, entry *receipts.Canary) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case len(entry.Failures) > 0:
		c.failed[h.policy.Name] = entry.At
		c.metrics.failures.Inc()
		c.metrics.probes.WithLabelValues("failed").Inc()
		c.d.Logger.Error("something of a canary outlived its deadline: the guarantee does not hold",
			zap.Stringer("epoch", h.epoch), zap.Time("deadline", h.deadline), zap.Strings("failures", entry.Failures))
	case entry.Unanswered > 0:
		c.metrics.probes.WithLabelValues("unanswered").Inc()
		c.d.Logger.Warn("a canary's end could not be looked at everywhere",
			zap.Stringer("epoch", h.epoch), zap.Int64("unanswered", entry.Unanswered))
	default:
		c.passed[h.policy.Name] = entry.At
		c.metrics.probes.WithLabelValues("passed").Inc()
	}
}

// attack tries everything once.
func (c *Canaries) attack(ctx context.Context, h *held) *receipts.Canary {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	a := &attempt{
		Canaries: c, held: h,
		entry: &receipts.Canary{Epoch: h.epoch, Deadline: h.deadline, Found: -1, Frames: int64(len(h.frames))},
	}
	if h.found >= 0 {
		a.entry.Found = h.found.Milliseconds()
	}
	a.nodes(ctx)
	a.keys()
	a.caches(ctx)
	a.store(ctx)
	a.lookUp(ctx)
	a.entry.At = time.Now()
	slices.SortFunc(a.entry.Failures, func(x, y string) int {
		return slices.Index(receipts.Failures, x) - slices.Index(receipts.Failures, y)
	})
	return a.entry
}

// attempt is one attack on one canary.
type attempt struct {
	*Canaries
	*held
	entry *receipts.Canary
	after []keyring.Copy // what the nodes still give
}

func (a *attempt) fail(how string) {
	if !slices.Contains(a.entry.Failures, how) {
		a.entry.Failures = append(a.entry.Failures, how)
	}
}

func (a *attempt) nodes(ctx context.Context) {
	copies, answering := a.d.Keyring.Copies(ctx, a.epoch)
	a.after = copies
	a.entry.Nodes = int64(answering)
	a.entry.Unanswered += int64(a.d.Keyring.Nodes() - answering)
	if len(copies) > 0 {
		a.fail(receipts.FailureEntry)
	}
}

// storedKEK is a key-encryption key whose state lies somewhere.
type storedKEK interface {
	Stored() (keyring.KEK, error)
}

// keys tries to unwrap what was kept and what was found, with the key-encryption
// key as this process has it and as its file does.
func (a *attempt) keys() {
	keks := []keyring.KEK{a.d.KEK}
	if s, ok := a.d.KEK.(storedKEK); ok {
		stored, err := s.Stored()
		if err != nil {
			a.entry.Unanswered++
		} else {
			keks = append(keks, stored)
		}
	}
	for _, copied := range slices.Concat(a.copies, a.after) {
		a.entry.Keys += int64(copied.Keys())
		for _, kek := range keks {
			for id, private := range copied.Break(kek) {
				a.fail(receipts.FailureKey)
				a.read(id, private)
			}
		}
	}
}

// read tries a private key on the kept frames.
func (a *attempt) read(id seal.KeyID, private seal.PrivateKey) {
	for i := range a.frames {
		f := &a.frames[i]
		if f.Place.Key != id {
			continue
		}
		reader, err := seal.NewReader(a.epoch, id, private, seal.Wrap{Writer: f.Writer, Encapsulated: a.wrap(f)})
		if err != nil {
			continue
		}
		if _, err := reader.Open(&f.Frame); err == nil {
			a.fail(receipts.FailureRead)
		}
	}
}

// caches asks this process and its peers for keys in memory.
func (a *attempt) caches(ctx context.Context) {
	frames := a.frames
	if len(frames) == 0 {
		frames = []store.Evidence{{Frame: seal.Frame{Place: seal.Place{Epoch: a.epoch}}}} // asks for keys alone
	}
	ask := func(probe func(f *seal.Frame, wrap []byte) (holds, opens bool, err error)) {
		for i := range frames {
			holds, opens, err := probe(&frames[i].Frame, a.wrap(&frames[i]))
			switch {
			case errors.Is(err, keyring.ErrAlive):
				holds = true // it takes the epoch for a living one
			case err != nil:
				a.entry.Unanswered++
				return
			}
			if holds {
				a.fail(receipts.FailureCache)
			}
			if opens {
				a.fail(receipts.FailureRead)
			}
		}
		a.entry.Caches++
	}
	ask(func(f *seal.Frame, wrap []byte) (bool, bool, error) { return a.d.Cache.Probe(time.Now(), f, wrap) })
	for _, p := range a.peers {
		ask(func(f *seal.Frame, wrap []byte) (bool, bool, error) { return p.probe(ctx, f, wrap) })
	}
}

func (a *attempt) store(ctx context.Context) {
	remains, err := a.d.Log.Remains(ctx, a.epoch, a.places())
	switch {
	case err != nil:
		a.entry.Unanswered++
	case remains > 0:
		a.fail(receipts.FailureChunks)
	}
}

func (a *attempt) lookUp(ctx context.Context) {
	for _, q := range a.queries() {
		answer, err := a.d.Log.Find(ctx, q)
		switch {
		case err != nil:
			a.entry.Unanswered++
		case len(answer.Records) > 0:
			a.fail(receipts.FailureFound)
		}
	}
}
