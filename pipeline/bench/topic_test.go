package bench

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/pipeline/workload"
	"mayfly/retention"
)

// A large service at a steady pace: it decides how many shards an epoch has, and
// how much the events of one shard look alike.
const (
	workloadRate     = 100_000 // events per second
	workloadAccounts = 1_000_000
	partitions       = 8
)

// traffic is what is in the topic.
type traffic struct {
	Topic      string  `json:"topic"`
	Events     int     `json:"events"`
	EventBytes float64 `json:"event_bytes"` // JSON, mean
	Partitions int     `json:"partitions"`
	Codec      string  `json:"codec"`
	KafkaBytes float64 `json:"kafka_bytes_per_event"` // as Kafka stores it
	Rate       int     `json:"rate_per_second"`
	Accounts   int     `json:"accounts"`
	Window     string  `json:"window"`
	Epoch      string  `json:"epoch"`
}

// began fixes the events' times for the whole of a run, however many epochs end meanwhile: the
// contenders have it from the harness.
var began = time.Now()

// filledEpoch is the epoch of all events: the last one that is over.
func filledEpoch() retention.Epoch {
	p := policy()
	return p.EpochAt(began.Add(-p.Epoch))
}

// fill makes a topic of the reference workload's events, all in filledEpoch.
func fill(t testing.TB, kafka *kafkatest.Cluster, events int) traffic {
	t.Helper()
	generator, err := newGenerator()
	if err != nil {
		t.Fatal(err)
	}
	topic := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	kafka.CreateTopic(t, topic, partitions, nil)
	const portion = 50_000
	bytes := 0
	var sent sentBytes
	client := kafka.Client(t, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.WithHooks(&sent))
	for from := 0; from < events; from += portion {
		records := make([]*kgo.Record, min(portion, events-from))
		for i := range records {
			m := generator.Next()
			bytes += len(m.Value)
			records[i] = &kgo.Record{
				Partition: int32(i % partitions), Value: append([]byte(nil), m.Value...), Timestamp: m.At,
			}
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatalf("producing: %v", err)
		}
	}
	return traffic{
		Topic: topic, Events: events, EventBytes: float64(bytes) / float64(events), Partitions: partitions, Codec: "snappy",
		Rate: workloadRate, Accounts: workloadAccounts, Window: policy().Window.String(), Epoch: policy().Epoch.String(),
		KafkaBytes: float64(sent.Load()) / float64(events),
	}
}

// sentBytes counts what batches take, compressed.
type sentBytes struct{ atomic.Int64 }

func (s *sentBytes) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	s.Add(int64(m.CompressedBytes))
}

// newGenerator is of 10 o'clock, whenever it is: between two attacks.
func newGenerator() (*workload.Generator, error) {
	config := workload.DefaultConfig()
	config.Start = filledEpoch().StartTime()
	config.Midnight = config.Start.Add(-10 * time.Hour)
	config.Rate, config.Accounts = workloadRate, workloadAccounts
	return workload.New(config)
}

// referenceValues are messages of the reference workload.
func referenceValues(n int) ([][]byte, error) {
	generator, err := newGenerator()
	if err != nil {
		return nil, err
	}
	values := make([][]byte, n)
	for i := range values {
		values[i] = append([]byte(nil), generator.Next().Value...)
	}
	return values, nil
}
