package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// embeddedSegmentBytes is the size at which the broker begins a new segment
// file. It rolls segments by size only, whatever segment.ms says, so an expired
// record, unreadable from its retention on, stays on disk until the segment it
// is in is full and has expired too: with a thousand events a second in four
// partitions, a quarter of a second. A new segment costs 20 µs.
const embeddedSegmentBytes = 16 << 10

// Kafka runs a broker that speaks Kafka's protocol on a free
// loopback port, with one topic whose records are gone after their retention.
// Records lie in files below dir; an empty dir means a temporary folder of its
// own, removed by stop. Files keep the process small: with a million records of
// 200 bytes it has 50 to 74 MB, and 490 MB when the broker holds them in memory.
func Kafka(ctx context.Context, topic string, partitions int, retention time.Duration, dir string) (brokers []string, stop func(), err error) {
	discard := func() {}
	if dir == "" {
		if dir, err = os.MkdirTemp("", "mayfly-broker-"); err != nil {
			return nil, nil, fmt.Errorf("making a folder for the embedded broker: %w", err)
		}
		discard = func() { _ = os.RemoveAll(dir) }
	}
	cluster, err := kfake.NewCluster(
		kfake.NumBrokers(1),
		kfake.DataDir(dir),
		kfake.BrokerConfigs(map[string]string{
			// How often retention is applied; it is an hour otherwise.
			"log.cleaner.backoff.ms": inMilliseconds(min(max(retention/4, 10*time.Millisecond), time.Second)),
		}),
	)
	if err != nil {
		discard()
		return nil, nil, fmt.Errorf("starting the embedded broker: %w", err)
	}
	stop = sync.OnceFunc(func() {
		cluster.Close()
		discard()
	})
	brokers = cluster.ListenAddrs()
	if err := createEmbeddedTopic(ctx, brokers, topic, partitions, retention); err != nil {
		stop()
		return nil, nil, err
	}
	return brokers, stop, nil
}

// createEmbeddedTopic makes the topic. Its records have their producer's stamps:
// the broker takes LogAppendTime for a setting and does not act on it. A topic
// that a folder in use already has is left as it is.
func createEmbeddedTopic(ctx context.Context, brokers []string, topic string, partitions int, retention time.Duration) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return fmt.Errorf("connecting to the embedded broker: %w", err)
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(partitions), 1, map[string]*string{
		"cleanup.policy":         new("delete"),
		"message.timestamp.type": new("CreateTime"),
		"retention.ms":           new(inMilliseconds(retention)),
		"segment.bytes":          new(strconv.Itoa(embeddedSegmentBytes)),
		"segment.ms":             new(inMilliseconds(retention)),
	}, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("creating the topic on the embedded broker: %w", err)
	}
	return nil
}

func inMilliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10)
}
