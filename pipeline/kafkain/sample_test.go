package kafkain

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
)

// The newest records of every partition are looked at, where only sealed batches are
// taken: who writes plain ones shows, until sealed ones have followed.
func TestPlainEventsAreSeen(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "sampled", 3, nil)
	config := DefaultConfig()
	config.Brokers, config.Sealed = cluster.Brokers(), true
	inspector, err := NewInspector(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inspector.Close)
	write := func(partition int32, values ...string) {
		var records []*kgo.Record
		for _, value := range values {
			records = append(records, &kgo.Record{Partition: partition, Value: []byte(value)})
		}
		cluster.Produce(t, "sampled", kgo.ZstdCompression(), records...)
	}
	many := make([]string, 2*sampled)
	for i := range many {
		many[i] = "\xf5\x01sealed"
	}
	expect := func(what string, newest, plain int) {
		t.Helper()
		states, err := inspector.Topics(t.Context(), "sampled")
		if err != nil {
			t.Fatal(err)
		}
		if s := states[0]; !s.SampleTold || s.Sampled != newest || s.Plain != plain {
			t.Errorf("%s: told %v, %d plain of %d", what, s.SampleTold, s.Plain, s.Sampled)
		}
	}
	expect("an empty topic", 0, 0)
	write(0, many...)
	write(1, "\xf5\x01sealed", `{"ip":"192.0.2.1"}`, "")
	expect("two plain ones", sampled+3, 2)
	write(1, many...)
	expect("sealed ones after them", 2*sampled, 0)
	write(2, `{"ip":"192.0.2.1"}`)
	expect("one in a quiet partition", 2*sampled+1, 1)
}

// Where plain events are taken, nobody reads any.
func TestNothingIsReadOfATopicWithPlainEvents(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "unsampled", 1, nil)
	cluster.Produce(t, "unsampled", kgo.NoCompression(), &kgo.Record{Value: []byte("{}")})
	if s := inspect(t, cluster.Brokers(), "unsampled")[0]; s.SampleTold || s.Sampled != 0 {
		t.Errorf("%d records were read", s.Sampled)
	}
}
