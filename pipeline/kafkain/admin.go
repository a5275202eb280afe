package kafkain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// askLimit bounds one question about topics or offsets.
const askLimit = 5 * time.Second

// topic is what tells a topic from others of its name, now or later.
type topic struct {
	id         [16]byte
	partitions int
}

// admin asks what kafka-go can't say: topic IDs, and metadata without creating
// the topics it is asked about.
type admin struct {
	client *kgo.Client
	kadm   *kadm.Client
}

func newAdmin(c Config, s security) (*admin, error) {
	// Answers must be fresh: a topic's ID decides where its records belong.
	options := append(s.franz(), kgo.SeedBrokers(c.Brokers...), kgo.MetadataMinAge(10*time.Millisecond))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	return &admin{client: client, kadm: kadm.NewClient(client)}, nil
}

func (a *admin) close() { a.client.Close() }

// errNoTopicIDs is what an old broker says. Without IDs the events of two topics, or
// of a topic and a later one of its name, would be taken for one another.
var errNoTopicIDs = errors.New("the brokers give topics no IDs: Kafka 2.8 or newer is needed, with its inter.broker.protocol.version")

// topics describes those of the named topics that exist.
func (a *admin) topics(ctx context.Context, names ...string) (map[string]topic, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	metadata, err := a.kadm.Metadata(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("asking for topics: %w", err)
	}
	found := make(map[string]topic, len(names))
	for _, name := range names {
		detail := metadata.Topics[name]
		switch {
		case detail.Err == nil && detail.ID == kadm.TopicID{}:
			return nil, fmt.Errorf("asking for topics: %w", errNoTopicIDs)
		case detail.Err == nil && len(detail.Partitions) > 0:
			found[name] = topic{id: detail.ID, partitions: len(detail.Partitions)}
		case detail.Err != nil && !errors.Is(detail.Err, kerr.UnknownTopicOrPartition) && !errors.Is(detail.Err, kerr.LeaderNotAvailable):
			return nil, fmt.Errorf("asking for topics: %w", detail.Err)
		}
	}
	return found, nil
}

// logStart is the first offset that the partition still has.
func (a *admin) logStart(ctx context.Context, name string, number int32) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	listed, err := a.kadm.ListStartOffsets(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("asking for the log start: %w", err)
	}
	offset, known := listed.Lookup(name, number)
	switch {
	case !known:
		return 0, fmt.Errorf("asking for the log start: %w", kerr.UnknownTopicOrPartition)
	case offset.Err != nil:
		return 0, fmt.Errorf("asking for the log start: %w", offset.Err)
	}
	return offset.Offset, nil
}
