package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// callLimit bounds one request of a test.
const callLimit = 30 * time.Second

// waitAnswering returns once the brokers know themselves as a cluster.
func waitAnswering(ctx context.Context, brokers []string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	defer client.Close()
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		metadata, err := kadm.NewClient(client).BrokerMetadata(attempt)
		cancel()
		if err == nil && len(metadata.Brokers) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the broker: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Client is a franz-go client of the cluster, closed with the test. It writes
// each record to the partition that the record names.
func (c *Cluster) Client(t testing.TB, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, options...)...)
	if err != nil {
		t.Fatalf("making a Kafka client: %v", err)
	}
	t.Cleanup(client.Close)
	return client
}

// Admin is an administration client of the cluster, closed with the test.
func (c *Cluster) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	return kadm.NewClient(c.Client(t, kgo.MetadataMinAge(10*time.Millisecond)))
}

// CreateTopic makes a topic and waits until each of its partitions has a leader.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions int, configs map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	settings := make(map[string]*string, len(configs))
	for key, value := range configs {
		settings[key] = &value
	}
	admin := c.Admin(t)
	if _, err := admin.CreateTopic(ctx, int32(partitions), 1, settings, name); err != nil {
		t.Fatalf("creating a topic: %v", err)
	}
	for !led(ctx, admin, name, partitions) {
		select {
		case <-ctx.Done():
			t.Fatal("the new topic has no leaders")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func led(ctx context.Context, admin *kadm.Client, name string, partitions int) bool {
	topics, err := admin.ListTopics(ctx, name)
	if err != nil || len(topics[name].Partitions) != partitions {
		return false
	}
	for _, partition := range topics[name].Partitions {
		if partition.Err != nil || partition.Leader < 0 {
			return false
		}
	}
	return true
}

// Produce writes records with a codec and returns when the broker has them.
// Without a topic of its own a record goes to the one named.
func (c *Cluster) Produce(t testing.TB, topic string, codec kgo.CompressionCodec, records ...*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	options := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic)}
	for _, record := range records {
		if size := int32(len(record.Value) + 4096); size > 1_000_000 {
			options = append(options, kgo.ProducerBatchMaxBytes(size))
		}
	}
	if err := c.Client(t, options...).ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("producing: %v", err)
	}
}
