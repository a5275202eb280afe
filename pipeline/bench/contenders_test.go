package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go" //nolint:depguard // its Reader is what ingest is compared with
	"go.uber.org/zap"

	"mayfly/pipeline"
	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
	"mayfly/retention/store"
)

// readGroup reads with kafka-go's Reader as a member of a group that commits
// each second, and throws away. It is measured from its first message on, so
// joining the group is not in it, nor what it had fetched by then.
func readGroup(ctx context.Context, t task, watch *stopwatch) error {
	config := kafkain.DefaultConfig()
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: t.Brokers, Topic: t.Topic, GroupID: t.Group, StartOffset: kafka.FirstOffset,
		MinBytes: 1, MaxBytes: config.FetchBytes, MaxWait: config.FetchWait, CommitInterval: time.Second,
	})
	for i := range t.Events {
		if _, err := reader.ReadMessage(ctx); err != nil {
			return fmt.Errorf("reading: %w", err)
		}
		if i == 0 {
			watch.start()
		}
	}
	watch.stop()
	return reader.Close()
}

// fetch reads with kafkain and throws away.
func fetch(ctx context.Context, t task, watch *stopwatch) error {
	consumer, err := newConsumer(t, nil)
	if err != nil {
		return err
	}
	return timed{consumer, watch}.Run(ctx, discard{})
}

func newConsumer(t task, r prometheus.Registerer) (*kafkain.Consumer, error) {
	config := kafkain.DefaultConfig()
	config.Brokers, config.Topics, config.Group = t.Brokers, []string{t.Topic}, t.Group
	return kafkain.New(config, kafkain.Dependencies{Log: warnings(), Registerer: r})
}

func warnings() *zap.Logger {
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(zap.WarnLevel)
	return zap.Must(config.Build())
}

// discard is a handler that wants nothing.
type discard struct{}

func (discard) Assigned(context.Context, kafkain.Generation) error { return nil }
func (discard) Handle(context.Context, *kafkain.Batch) error       { return nil }
func (discard) Revoked(context.Context) error                      { return nil }

// ingest is the whole way into Redis, wired as the command wires it.
func ingest(ctx context.Context, t task, watch *stopwatch) error {
	config := redisconn.DefaultConfig()
	config.Addrs = []string{t.Redis}
	data, err := redisconn.Open(config)
	if err != nil {
		return err
	}
	defer data.Close()
	node, err := redisconn.OpenNode(t.Keyring)
	if err != nil {
		return err
	}
	defer node.Close()
	ring, err := keyring.New(keyring.NewRedisNode("bench", node))
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	log := store.NewRedis(data)
	ingest, err := pipeline.New(pipeline.DefaultConfig(), pipeline.Dependencies{
		Policies: retention.Policies{policy()}, Fields: event.FieldMap{}, Writer: store.NewWriter(ring, log),
		Store: log, Log: warnings(), Registerer: registry,
	})
	if err != nil {
		return err
	}
	consumer, err := newConsumer(t, registry)
	if err != nil {
		return err
	}
	return ingest.Run(ctx, timed{consumer, watch})
}

// timed is a source that ends once every event was handed over. It measures from
// the assignment of the partitions until the handler has given them up, and
// so has stored and committed all; joining and leaving the group are not in it.
type timed struct {
	source *kafkain.Consumer
	watch  *stopwatch
}

func (s timed) Run(ctx context.Context, h kafkain.Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	handler := &timedHandler{Handler: h, watch: s.watch, end: cancel}
	if err := s.source.Run(ctx, handler); err != nil {
		return err
	}
	if n := int(handler.events.Load()); n != s.watch.events {
		return fmt.Errorf("%d of %d events were read", n, s.watch.events)
	}
	return nil
}

type timedHandler struct {
	kafkain.Handler
	watch    *stopwatch
	end      context.CancelFunc
	assigned bool
	events   atomic.Int64
}

func (h *timedHandler) Assigned(ctx context.Context, g kafkain.Generation) error {
	if h.assigned {
		return errors.New("the group was balanced anew: this is no measurement")
	}
	h.assigned = true
	h.watch.start()
	return h.Handler.Assigned(ctx, g)
}

func (h *timedHandler) Handle(ctx context.Context, b *kafkain.Batch) error {
	n := len(b.Records)
	if err := h.Handler.Handle(ctx, b); err != nil {
		return err
	}
	if int(h.events.Add(int64(n))) == h.watch.events {
		h.end()
	}
	return nil
}

func (h *timedHandler) Revoked(ctx context.Context) error {
	err := h.Handler.Revoked(ctx)
	h.watch.stop()
	return err
}
