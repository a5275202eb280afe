// Package pipeline is ingest: it takes batches of Kafka records, decodes them
// into events, gathers those for a moment, has them sealed and stored, and only
// then commits. Follow an event through the files: lane.go (decode, judge, place
// in its epoch), slab.go (wait), generation.go (seal, store, commit). A batch that
// was sealed before Kafka (package edge) takes the same way, closed (sealed.go).
//
// Only cmd imports it. Its invariants: an offset is committed only after
// everything before it was stored, refused with a counted reason, or past its deadline;
// where an event goes depends on its Kafka record alone, so that a replay lands
// in the same place; the bytes that wait are bounded; and no refused message is kept or logged.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/store"
)

// Checker tells whether what was stored can still be relied on.
type Checker interface {
	Check(ctx context.Context) (store.Health, error)
}

// Source delivers batches to a handler until ctx ends; kafkain.Consumer is one.
type Source interface {
	Run(ctx context.Context, h kafkain.Handler) error
}

// Dependencies are what an Ingest is given.
type Dependencies struct {
	Policies   retention.Policies
	Fields     event.FieldMap
	SealedOnly bool // refuse plain events: the topic is meant to hold no address
	Writer     *store.Writer
	Store      Checker
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Ingest stores what a source delivers. It implements kafkain.Handler.
type Ingest struct {
	config     Config
	policies   retention.Policies
	decoder    *event.Decoder
	sealedOnly bool
	writer     *store.Writer
	store      Checker
	log        *zap.Logger
	metrics    *metrics
	memory     *semaphore.Weighted // Config.Memory bytes, held from decoding to storage
	current    *generation
	lost       map[kafkain.Partition]int64 // how far a Redis that was replaced had stored; only generations use it

	mu      sync.Mutex // guards trouble
	trouble error
}

var errNotStarted = errors.New("ingest: no partition is assigned yet")

// New checks the configuration and connects to nothing.
func New(config Config, deps Dependencies) (*Ingest, error) {
	if err := errors.Join(config.Validate(), deps.Policies.Validate()); err != nil {
		return nil, err
	}
	decoder, err := event.NewDecoder(deps.Fields)
	if err != nil {
		return nil, err
	}
	metrics, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return &Ingest{
		config: config, policies: deps.Policies, decoder: decoder, sealedOnly: deps.SealedOnly, writer: deps.Writer, store: deps.Store,
		log: deps.Log, metrics: metrics, memory: semaphore.NewWeighted(config.Memory), trouble: errNotStarted,
	}, nil
}

// Run ingests from source until ctx ends, then stores and commits what it has.
func (i *Ingest) Run(ctx context.Context, source Source) error { return source.Run(ctx, i) }

// Ready is nil while storing works, else what is wrong.
func (i *Ingest) Ready() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.trouble
}

func (i *Ingest) setTrouble(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.trouble = err
}

// Assigned implements kafkain.Handler.
func (i *Ingest) Assigned(_ context.Context, g kafkain.Generation) error {
	i.current = newGeneration(i, g)
	go i.current.run()
	return nil
}

// Handle implements kafkain.Handler.
func (i *Ingest) Handle(ctx context.Context, b *kafkain.Batch) error {
	return i.current.lanes[b.Partition].handle(ctx, b)
}

// Revoked implements kafkain.Handler.
func (i *Ingest) Revoked(ctx context.Context) error {
	err := i.current.finish(ctx)
	i.setTrouble(errNotStarted)
	return err
}
