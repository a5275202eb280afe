package process

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/cmd/mayfly/config"
	"mayfly/pipeline/edge"
	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/retention/canary"
	"mayfly/retention/record"
)

// canarySender writes canaries to Kafka as others write events.
type canarySender interface {
	// send returns nil once Kafka has acknowledged the canary.
	send(ctx context.Context, e canary.Event) error
	run(ctx context.Context) error
	close()
}

// newCanarySender connects to nothing yet. Where plain events are refused, canaries
// are sealed before Kafka as a relay does it.
func (p *Process) newCanarySender() (canarySender, error) {
	options, err := kafkain.ClientOptions(p.Config.Kafka)
	if err != nil {
		return nil, err
	}
	if p.Config.Kafka.Sealed {
		return newSealedCanaries(p.Config, p.Keyring, p.log, options)
	}
	return newPlainCanaries(p.Config, options)
}

// eventOf is a canary as anybody's event.
func eventOf(e canary.Event) *event.Event {
	return &event.Event{
		Time: e.Time.UnixMilli(), Account: e.Account, Address: e.Address,
		Ports: record.Ports{First: e.Port, Last: e.Port, Known: true},
		Kind:  e.Fields["event"], Server: e.Fields["server"], Transport: e.Fields["transport"],
		Client: e.Fields["client"], Outcome: e.Fields["outcome"], RTT: -1,
	}
}

// plainCanaries are one event a message, in the shape that the topic has.
type plainCanaries struct {
	client *kgo.Client
	writer *event.Writer
}

func newPlainCanaries(c config.Config, options []kgo.Opt) (*plainCanaries, error) {
	writer, err := event.NewWriter(c.Fields)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(c.Kafka.Brokers...), kgo.RecordDeliveryTimeout(30*time.Second))...)
	if err != nil {
		return nil, fmt.Errorf("configuring the canaries' Kafka client: %w", err)
	}
	return &plainCanaries{client, writer}, nil
}

func (s *plainCanaries) send(ctx context.Context, e canary.Event) error {
	text, err := s.writer.Write(eventOf(e))
	if err != nil {
		return err
	}
	if err := s.client.ProduceSync(ctx, &kgo.Record{Topic: e.Topic, Value: text}).FirstErr(); err != nil {
		return fmt.Errorf("writing to Kafka: %w", err)
	}
	return nil
}

func (*plainCanaries) run(context.Context) error { return nil }

func (s *plainCanaries) close() { s.client.Close() }

// sealedCanaries go through a sealer of each topic.
type sealedCanaries struct {
	sealers   map[string]*edge.Sealer
	producers []*edge.Kafka
}

func newSealedCanaries(c config.Config, keys edge.Keys, log *zap.Logger, options []kgo.Opt) (*sealedCanaries, error) {
	s := &sealedCanaries{sealers: map[string]*edge.Sealer{}}
	for _, topic := range c.Kafka.Topics {
		producer, err := edge.NewKafka(c.Kafka.Brokers, topic, options...)
		if err != nil {
			s.close()
			return nil, err
		}
		s.producers = append(s.producers, producer)
		s.sealers[topic], err = edge.New(edge.DefaultConfig(), edge.Dependencies{
			Policies: c.Policies, Topic: topic, Keys: keys, Producer: producer, Log: log,
		})
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

func (s *sealedCanaries) send(ctx context.Context, e canary.Event) error {
	var delivery edge.Delivery
	refusal, err := s.sealers[e.Topic].Add(ctx, eventOf(e), &delivery)
	switch {
	case err != nil:
		return err
	case refusal != event.Accepted:
		return fmt.Errorf("sealing refuses it: %s", refusal)
	}
	return delivery.Wait(ctx)
}

func (s *sealedCanaries) run(ctx context.Context) error {
	var g errgroup.Group
	for _, sealer := range s.sealers {
		g.Go(func() error {
			_ = sealer.Run(ctx) // it says which were given up: send has said so
			return nil
		})
	}
	return g.Wait()
}

func (s *sealedCanaries) close() {
	for _, producer := range s.producers {
		producer.Close()
	}
}
