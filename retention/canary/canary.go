// Package canary tests the guarantee from outside, all the time: it sends
// connections of its own through Kafka like anybody's, sees that they are found,
// takes copies of everything sealed that an attacker could take while they live,
// and after their deadline tries to read them with all that there still is. Only
// cmd imports it; the desk gets from it how to tell a canary from a customer.
//
// What is tried after the deadline, past every filter on deadlines:
//
//   - each keyring node, for anything of the epoch;
//   - the kept wraps and those found, with the key-encryption key in memory and as
//     its file has it at that moment;
//   - the memory of this process and of its peers, for keys of the epoch;
//   - the store, for frames and directories of the epoch;
//   - an ordinary look-up.
//
// Of several wardens the active one sends and tries them. Who becomes active, or is
// started again, takes up those that its predecessor had under way: it finds them in
// the IP log, where they are sealed and end with everybody's, and copies anew what
// can be copied of them. So a canary's address is written down nowhere else, and no
// longer.
//
// The invariants: what a prober holds is sealed and in memory only, so it is
// harmless by itself; a canary is known by a keyed tag, so no list of them exists;
// and a canary that something of is left of lowers the assurance level and leaves
// a receipt.
package canary

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// Event is a canary on its way to Kafka.
type Event struct {
	Connection
	Time   time.Time         // whole milliseconds
	Topic  string            // to send it to
	Fields map[string]string // others, by name, by which it gets its policy
}

// Log is the IP log, from the inside.
type Log interface {
	// Find is the ordinary look-up, which leaves out what is due.
	Find(ctx context.Context, q store.Query) (store.Answer, error)
	// Evidence gives what is sealed, in Redis and in Kafka, of what q asks for, while it lives.
	Evidence(ctx context.Context, epoch retention.Epoch, q store.Query) ([]store.Evidence, error)
	// Remains counts what the store has of an epoch, due or not.
	Remains(ctx context.Context, epoch retention.Epoch, places []seal.Place) (int, error)
}

// Receipts is where probes are written down.
type Receipts interface {
	Record(ctx context.Context, entries ...receipts.Entry) error
}

// Dependencies are what canaries work with.
type Dependencies struct {
	Policies retention.Policies
	Topics   []string
	Key      *Key
	// Send returns nil once Kafka has acknowledged the event.
	Send func(ctx context.Context, e Event) error
	// Active reports whether sending is this process's turn; nil: always.
	Active     func() bool
	Log        Log
	Keyring    *keyring.Keyring
	KEK        keyring.KEK
	Cache      Cache // of this process
	Receipts   Receipts
	Logger     *zap.Logger
	Registerer prometheus.Registerer
}

// Canaries sends canaries and tries them.
type Canaries struct {
	config  Config
	d       Dependencies
	metrics *metrics
	peers   []peer

	kept atomic.Int64 // bytes of frames

	mu     sync.Mutex           // guards all below, so that none is followed twice
	failed map[string]time.Time // the last probe of each policy that did
	passed map[string]time.Time
	own    map[string]struct{} // accounts of those under way
}

// Bounds of what is held in memory.
const (
	mostUnderWay = 4096
	mostKept     = 64 << 20 // bytes of frames; of later canaries only the keys are kept
)

// New checks the configuration and sends nothing.
func New(config Config, d Dependencies) (*Canaries, error) {
	if err := errors.Join(config.Validate(), d.Policies.Validate()); err != nil {
		return nil, err
	}
	if !config.On() || d.Key == nil || d.Send == nil || d.Log == nil || d.Keyring == nil || d.KEK == nil || d.Cache == nil {
		return nil, errors.New("canaries need ranges, a key, a producer, the IP log, the keyring and the caches")
	}
	for i := range d.Policies {
		p := &d.Policies[i]
		if n := int64(p.Window / every(config, p)); n > mostUnderWay/int64(len(d.Policies)) {
			return nil, fmt.Errorf("canary.every: %d canaries of policy %s would be under way at a time: send fewer", n, p.Name)
		}
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	c := &Canaries{config: config, d: d, metrics: m, failed: map[string]time.Time{}, passed: map[string]time.Time{}, own: map[string]struct{}{}}
	for _, url := range config.Peers {
		c.peers = append(c.peers, newPeer(url, d.Key))
	}
	return c, nil
}

// every is the time between two canaries of a policy.
func every(config Config, p *retention.Policy) time.Duration {
	if config.Every > 0 {
		return config.Every
	}
	return p.EpochLength()
}

// Run sends canaries of every policy until ctx ends. What was kept of those under
// way is gone then: who is active next takes them up.
func (c *Canaries) Run(ctx context.Context) error {
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { c.takeTurns(ctx, &wait) })
	for i := range c.d.Policies {
		p := &c.d.Policies[i]
		topic, fields, ok := Sample(c.d.Policies, i, c.d.Topics)
		if !ok {
			c.d.Logger.Warn("no event could be thought of that gets this policy, so it has no canaries", zap.String("policy", p.Name))
			continue
		}
		wait.Go(func() { c.send(ctx, &wait, p, topic, fields) })
	}
	<-ctx.Done()
	return nil
}

// send sends one canary in each span of time, at a moment that nobody can foresee.
func (c *Canaries) send(ctx context.Context, wait *sync.WaitGroup, p *retention.Policy, topic string, fields map[string]string) {
	span := every(c.config, p)
	for start := time.Now(); ; {
		end := start.Truncate(span).Add(span)
		if !sleep(ctx, time.Until(start)+random(end.Sub(start))) {
			return
		}
		connection, err := c.d.Key.Draw()
		if err == nil && c.active() {
			event := Event{Connection: connection, Time: time.UnixMilli(time.Now().UnixMilli()), Topic: topic, Fields: fields}
			c.start(wait, event.Account, func() { c.follow(ctx, p, event) })
		}
		start = end
	}
}

func (c *Canaries) active() bool { return c.d.Active == nil || c.d.Active() }

// start has a canary followed, unless it is already, or too many are.
func (c *Canaries) start(wait *sync.WaitGroup, account string, follow func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, own := c.own[account]; own || len(c.own) >= mostUnderWay {
		return false
	}
	c.own[account] = struct{}{}
	wait.Go(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.own, account)
		}()
		follow()
	})
	return true
}

// Area is that of the canaries' findings.
const Area keyring.Area = "canary"

// Condition is what the canaries test.
const Condition keyring.Condition = "nothing is left"

// Findings say for each policy what its last canaries came to: a failure counts
// until a whole window has passed without one.
func (c *Canaries) Findings(now time.Time) []keyring.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []keyring.Finding
	for i := range c.d.Policies {
		p := &c.d.Policies[i]
		f := keyring.Findings{Area: Area, Subject: p.Name}
		failed, passed := c.failed[p.Name], c.passed[p.Name]
		switch {
		case !failed.IsZero() && now.Sub(failed) < p.Window:
			f.Add(Condition, keyring.Fail, "something of a canary outlived its deadline",
				"the error log and the receipts say what: purge it, and find out who kept it")
		case passed.IsZero():
			f.Add(Condition, keyring.Unattested, "no canary has reached its deadline yet", "wait for one window")
		default:
			f.Add(Condition, keyring.Pass, "the last canary is gone", "")
		}
		all = append(all, f.List...)
	}
	return all
}
