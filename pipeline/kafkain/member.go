package kafkain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"go.uber.org/zap"
)

// leaveLimit bounds how long leaving the group may delay the end of Run. A
// member that can't say goodbye is dropped by the broker after its session.
const leaveLimit = 10 * time.Second

// freshCluster is how many times joining may fail for want of a coordinator
// before that is called a failure: a new cluster first makes its offsets topic.
const freshCluster = 8

// errTopicsChanged ends a session: there are other topics, or partitions, than it was made for.
var errTopicsChanged = errors.New("the topics have changed")

// member is a Consumer that runs.
type member struct {
	*Consumer
	admin     *admin
	transport *kafka.Transport
	handler   Handler
}

// awaitTopics returns once some of the topics exist, with what is known about
// them. Only those are joined for: kafka-go, asked to balance a topic that does
// not exist, makes brokers create it, with their defaults for retention.
func (m *member) awaitTopics(ctx context.Context) map[string]topic {
	retry := m.timing.newBackoff()
	for ctx.Err() == nil {
		found, err := m.admin.topics(ctx, m.config.Topics...)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			m.health.fails(subject{operation: "metadata"}, err)
		default:
			m.health.works(subject{operation: "metadata"})
			m.health.topicsMissing(without(m.config.Topics, found))
			if len(found) > 0 {
				return found
			}
		}
		retry.sleep(ctx)
	}
	return nil
}

// session is a membership in the group for a fixed set of topics.
func (m *member) session(ctx context.Context, topics map[string]topic) error {
	if ctx.Err() != nil {
		return nil
	}
	group, err := kafka.NewConsumerGroup(m.groupConfig(slices.Sorted(maps.Keys(topics))))
	if err != nil {
		return fmt.Errorf("configuring the consumer group: %w", err)
	}
	defer m.leave(group)
	// Closing ends the generation under way and waits for it, so it can't be waited for here.
	stop := context.AfterFunc(ctx, func() { _ = group.Close() })
	defer stop()

	retry := m.timing.newBackoff()
	for {
		joined, err := group.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, kafka.RebalanceInProgress):
		case err != nil:
			if !lacksCoordinator(err) || retry.attempts >= freshCluster {
				m.health.fails(subject{operation: "join"}, fmt.Errorf("joining the consumer group: %w", err))
			}
			retry.sleep(ctx)
		default:
			retry.reset()
			if err := m.serve(ctx, joined, topics); err != nil {
				return err
			}
		}
	}
}

func lacksCoordinator(err error) bool {
	return errors.Is(err, kafka.GroupCoordinatorNotAvailable) || errors.Is(err, kafka.NotCoordinatorForGroup) ||
		errors.Is(err, kafka.GroupLoadInProgress)
}

func (m *member) groupConfig(topics []string) kafka.ConsumerGroupConfig {
	return kafka.ConsumerGroupConfig{
		ID: m.config.Group, Brokers: m.config.Brokers, Topics: topics,
		Dialer: &kafka.Dialer{ClientID: clientID, Timeout: dialTimeout, DialFunc: m.security.dial,
			TLS: m.security.tls, SASLMechanism: m.security.kafkaGo()},
		// With several topics, round robin spreads what range would pile on the first member.
		GroupBalancers:    []kafka.GroupBalancer{kafka.RoundRobinGroupBalancer{}, kafka.RangeGroupBalancer{}},
		SessionTimeout:    m.timing.session,
		HeartbeatInterval: m.timing.heartbeat,
		RebalanceTimeout:  2 * m.timing.drain,
		JoinGroupBackoff:  m.timing.backoff, // ours comes on top
		StartOffset:       kafka.FirstOffset,
	}
}

// serve runs one generation inside kafka-go's own accounting: only so does the
// connection for commits live until Revoked has returned.
func (m *member) serve(ctx context.Context, joined *kafka.Generation, topics map[string]topic) error {
	result := make(chan error, 1)
	joined.Start(func(life context.Context) {
		result <- m.runGeneration(ctx, life, joined, topics)
	})
	return <-result
}

func (m *member) leave(group io.Closer) {
	left := make(chan struct{})
	go func() {
		_ = group.Close()
		close(left)
	}()
	select {
	case <-left:
	case <-time.After(leaveLimit):
		m.log.Warn("leaving the consumer group takes too long", zap.Duration("limit", leaveLimit))
	}
}
