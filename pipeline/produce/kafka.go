package produce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The producer's bounds.
const (
	maxInFlight     = 50_000 // records that wait for their acknowledgement
	connectTimeout  = 15 * time.Second
	deliveryTimeout = 2 * time.Minute
)

// topic is the output: one topic of one cluster. The client's own defaults make
// it idempotent, with acknowledgement by all replicas in sync.
type topic struct {
	client *kgo.Client

	// mu guards what acknowledgements write, from the client's goroutine.
	mu    sync.Mutex
	acked int
	err   error
}

// connect opens the client and makes sure that the topic is there.
func (p *Producer) connect(ctx context.Context) (*topic, error) {
	options := []kgo.Opt{
		kgo.SeedBrokers(p.config.Brokers...),
		kgo.DefaultProduceTopic(p.config.Topic),
		kgo.MaxBufferedRecords(maxInFlight),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
	}
	client, err := kgo.NewClient(append(options, p.deps.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("configuring the Kafka client: %w", err)
	}
	out := &topic{client: client}
	if err := p.check(ctx, client); err != nil {
		out.close()
		return nil, err
	}
	return out, nil
}

// check asks for the topic, so that a wrong name is told before anything is read.
func (p *Producer) check(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	admin := kadm.NewClient(client)
	topics, err := admin.ListTopics(ctx, p.config.Topic)
	if err != nil {
		return fmt.Errorf("asking Kafka for topic %s (is it running at kafka.brokers?): %w", p.config.Topic, err)
	}
	err = topics[p.config.Topic].Err
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("asking Kafka for topic %s (is it running at kafka.brokers?): %w", p.config.Topic, err)
	case !p.config.CreateTopic:
		return fmt.Errorf("topic %s does not exist: create it, or allow it to be created", p.config.Topic)
	}
	// −1: as many partitions and replicas as the broker gives by default.
	_, err = admin.CreateTopic(ctx, -1, -1, nil, p.config.Topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("creating topic %s: %w", p.config.Topic, err)
	}
	return nil
}

// send hands value over, which from then on belongs to the client. It waits
// while too much is in flight, and gives the error of an earlier event, if any.
func (o *topic) send(ctx context.Context, value []byte) error {
	if err := o.failure(); err != nil {
		return err
	}
	o.client.Produce(ctx, &kgo.Record{Value: value}, o.acknowledged)
	return ctx.Err()
}

func (o *topic) acknowledged(_ *kgo.Record, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.acked++
	case o.err == nil:
		o.err = fmt.Errorf("writing to Kafka: %w", err)
	}
}

// flush waits until every event is acknowledged or has failed.
func (o *topic) flush(ctx context.Context) error {
	if err := o.client.Flush(ctx); err != nil {
		return fmt.Errorf("waiting for Kafka's acknowledgements: %w", err)
	}
	return nil
}

func (o *topic) written() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.acked
}

func (o *topic) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

func (o *topic) close() { o.client.Close() }
