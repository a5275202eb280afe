package edge

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is a Producer of one topic: idempotent, with acknowledgement by all
// replicas in sync.
type Kafka struct{ client *kgo.Client }

// deliveryTimeout is how long Kafka may be away before a message fails.
const deliveryTimeout = 30 * time.Second

// NewKafka makes a producer; options are TLS and SASL. It connects with the first
// message. Sealed bytes don't compress, but batches of one epoch share a wrap, which zstd finds.
func NewKafka(brokers []string, topic string, options ...kgo.Opt) (*Kafka, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.SnappyCompression()),
		kgo.RecordDeliveryTimeout(deliveryTimeout),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("configuring the Kafka client: %w", err)
	}
	return &Kafka{client}, nil
}

// Produce implements Producer.
func (k *Kafka) Produce(ctx context.Context, key, message []byte, done func(error)) {
	k.client.Produce(ctx, &kgo.Record{Key: key, Value: message}, func(_ *kgo.Record, err error) { done(err) })
}

// Close ends the connections; what is under way fails.
func (k *Kafka) Close() { k.client.Close() }
