// Package edge seals connection events where they are seen, before they reach
// Kafka: a topic that only edges write to never holds an address. A service that
// is written in Go embeds a Sealer; mayfly relay is one for all others.
//
// A Sealer gathers events by epoch for a moment, seals them to the epoch's public
// key and hands the message to a Producer. Follow an event through the files:
// edge.go (judge, copy), gather.go (wait), flush.go (seal, send). The commands and
// pipeline/relay import it. Its invariants:
//
//   - it holds public keys and frame keys of its own: it can't read back what it has sealed;
//   - an event leaves it sealed or not at all: where no key is published it waits
//     for one, a bounded time, and then says that it has failed;
//   - a Delivery succeeds only once Kafka has acknowledged all that was added to it;
//   - the bytes that wait are bounded, erased once sealed, and never written anywhere.
//
// It needs nothing of the keyring but the public halves. The access list of its
// user on a keyring node, with the events of policies whose keys it may use:
//
//	ACL SETUSER edge on >… resetkeys %R~mayfly:key:public:* -@all +hgetall +hello +ping
//
// deploy/keyring.acl has it beside those of the other roles.
package edge

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/store"
)

// Keys tells the public keys of epochs; a keyring.Keyring is one.
type Keys interface {
	// Public gives the keys of a living epoch, newest first; keyring.ErrNoKey
	// where none is published.
	Public(ctx context.Context, epoch retention.Epoch) ([]keyring.Public, error)
}

// Producer writes to the topic; a Kafka is one.
type Producer interface {
	// Produce takes a message over and calls done once, with nil when the topic has
	// it for good. Messages of one key, unless it is nil, go to one partition. It may
	// wait while too much is under way, for as long as ctx lasts.
	Produce(ctx context.Context, key, message []byte, done func(error))
}

// Dependencies are what a Sealer is given.
type Dependencies struct {
	Policies   retention.Policies
	Topic      string // that the producer writes to: policies may match on it
	Keys       Keys
	Producer   Producer
	Log        *zap.Logger
	Registerer prometheus.Registerer // nil: none
}

// Reasons to refuse an event besides those that the decoder has.
const (
	NoPolicy   event.Refusal = "no_policy"   // no policy matches, so it would have no deadline
	TimeFuture event.Refusal = "time_future" // its time is after ours by more than the skew
	Expired    event.Refusal = "expired"     // its epoch is past its deadline
)

// Why events that were taken fail.
var (
	// ErrNoKey: no key was published for the epoch in time; is there a warden?
	ErrNoKey = errors.New("no epoch key is published")
	// ErrKafka: Kafka has not acknowledged; the events may be there all the same.
	ErrKafka = errors.New("kafka has not acknowledged")
	// ErrExpired: the epoch's deadline came while the events waited.
	ErrExpired = errors.New("the epoch has expired")
	// ErrStopped: the sealer has ended before they were sent.
	ErrStopped = errors.New("the sealer has stopped")
)

// Sealer seals events. Add is safe for concurrent use.
type Sealer struct {
	config  Config
	deps    Dependencies
	metrics *metrics
	memory  *semaphore.Weighted // Config.Memory bytes, held from Add to the acknowledgement
	wake    chan struct{}

	mu      sync.Mutex // guards what Add and Run share, and what is wrong
	open    map[retention.Epoch]*batch
	full    []*batch
	trouble trouble
	stopped bool

	// Run's own.
	pending []*batch
	edges   map[retention.Epoch]*sealing
	sending sync.WaitGroup
}

// sealing is the sealer of one epoch key, used for an epoch's length.
type sealing struct {
	*store.Edge
	made time.Time
}

// New checks the configuration and connects to nothing.
func New(config Config, deps Dependencies) (*Sealer, error) {
	if err := errors.Join(config.Validate(), deps.Policies.Validate()); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return &Sealer{
		config: config, deps: deps, metrics: metrics, memory: semaphore.NewWeighted(config.Memory),
		wake: make(chan struct{}, 1), open: map[retention.Epoch]*batch{}, edges: map[retention.Epoch]*sealing{},
	}, nil
}

// Add takes an event, of which it keeps copies, and enters it in d, which may be
// nil. It waits while the memory is full, for as long as ctx lasts: nothing was
// taken where it returns an error or a refusal. The event's time becomes the
// present where it is later.
func (s *Sealer) Add(ctx context.Context, e *event.Event, d *Delivery) (event.Refusal, error) {
	if refusal := e.Check(); refusal != event.Accepted {
		return s.refuse(refusal), nil
	}
	now := time.Now()
	e.Topic = s.deps.Topic
	p := s.deps.Policies.For(e)
	switch {
	case p == nil:
		return s.refuse(NoPolicy), nil
	case e.Time > now.Add(s.config.Skew).UnixMilli():
		return s.refuse(TimeFuture), nil
	}
	at := min(e.Time, now.UnixMilli())
	epoch := p.EpochAt(time.UnixMilli(at))
	deadline := epoch.Deadline(p.Window)
	if !deadline.After(now) {
		return s.refuse(Expired), nil
	}
	r, text := copied(e, p, at)
	size := weight(text)
	if err := s.memory.Acquire(ctx, size); err != nil {
		clear(text)
		return event.Accepted, fmt.Errorf("waiting for memory (relay.batch.memory): %w", err)
	}
	if !s.put(epoch, deadline, now, r, text, d) {
		clear(text)
		s.memory.Release(size)
		return event.Accepted, ErrStopped
	}
	s.metrics.waiting.Add(float64(size))
	return event.Accepted, nil
}

func (s *Sealer) refuse(reason event.Refusal) event.Refusal {
	s.Refused(reason)
	return reason
}

// Refused counts a line that was no event.
func (s *Sealer) Refused(reason event.Refusal) { s.metrics.count(string(reason), 1) }

// trouble is what keeps a sealer from its work.
type trouble struct{ keys, kafka error }

// Ready is nil while sealing and sending work, else what is wrong.
func (s *Sealer) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.trouble.keys, s.trouble.kafka)
}

func (s *Sealer) setTrouble(change func(*trouble)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.trouble)
}
