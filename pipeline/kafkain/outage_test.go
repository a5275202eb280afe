package kafkain

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"mayfly/pipeline/kafkain/kafkatest"
)

const outageLine = "kafka does not work: retrying"

func TestSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.StartOwn(t)
	cluster.CreateTopic(t, "outage", 4, nil)
	cluster.Produce(t, "outage", kgo.NoCompression(), numbered("before", 400, 4)...)
	r := run(t, cluster, "outage", []string{"outage"}, func(r *rig) { r.commitEnd = false })
	r.await(t, "the records before", func(v view) bool { return v.distinct() == 400 })
	if err := r.Ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	if v := r.look(); v.generation.Commit(v.next) != nil {
		t.Fatal("the commit failed")
	}

	cluster.Kill(t)
	awaitTrue(t, "that it is not ready", func() bool { return r.Ready() != nil })
	awaitTrue(t, "a warning", func() bool { return r.logs.FilterMessage(outageLine).Len() == 1 })
	awaitTrue(t, "the loss of its membership", func() bool { return r.metric(t, "mayfly_kafka_member") == 0 })
	cluster.StartAgain(t)
	cluster.Produce(t, "outage", kgo.NoCompression(), numbered("after", 400, 4)...)
	r.await(t, "the records after", func(v view) bool { return v.distinct() == 800 })
	if got := len(r.look().values()); got != 800 {
		t.Errorf("%d records, want 800: what was committed is not read again", got)
	}
	awaitTrue(t, "that it is ready again", func() bool { return r.Ready() == nil })
	if lines := r.logs.FilterMessage(outageLine).Len(); lines != 1 {
		t.Errorf("the outage was logged %d times", lines)
	}
	if lines := r.logs.FilterMessage("kafka works again").Len(); lines != 1 {
		t.Errorf("its end was logged %d times", lines)
	}
}

func awaitTrue(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestWaitsForKafkaAtStart(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.StartEmbedded(t)
	cluster.CreateTopic(t, "late", 1, nil)
	cluster.Produce(t, "late", kgo.NoCompression(), numbered("record", 10, 1)...)
	cluster.Stop(t)
	r := run(t, cluster, "late", []string{"late"})
	awaitTrue(t, "a warning", func() bool { return r.logs.FilterMessage(outageLine).Len() == 1 })
	if r.Ready() == nil {
		t.Error("ready without Kafka")
	}
	cluster.StartAgain(t)
	r.await(t, "all records", func(v view) bool { return len(v.values()) == 10 })
}

// Being told to stop while Kafka is away ends Run all the same.
func TestStopsWhileKafkaIsAway(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.StartEmbedded(t)
	cluster.CreateTopic(t, "away", 1, nil)
	r := run(t, cluster, "away", []string{"away"})
	r.await(t, "the assignment", func(v view) bool { return v.generations == 1 })
	cluster.Stop(t)
	begin := time.Now()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > leaveLimit+5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if revoked := r.look().revoked; revoked != 1 {
		t.Errorf("revoked %d times", revoked)
	}
}

func TestOutageIsLoggedOnceAndRemindedOf(t *testing.T) {
	t.Parallel()
	r := prepare(t, []string{"localhost:1"}, "g", []string{"t"})
	h := r.health
	h.remind = time.Hour
	h.joined()
	failure := errors.New("no")
	one, two := subject{operation: "fetch"}, subject{operation: "fetch", partition: Partition{Number: 1}}
	h.fails(one, failure)
	h.fails(two, failure)
	h.fails(one, failure)
	h.works(one)
	if err := h.ready(); !errors.Is(err, failure) {
		t.Errorf("ready while one partition fails: %v", err)
	}
	h.works(two)
	h.works(two)
	if err := h.ready(); err != nil {
		t.Errorf("not ready: %v", err)
	}
	h.fails(one, failure) // a new outage
	h.remind = 0
	h.fails(one, failure)
	if warned, mended := r.logs.FilterMessage(outageLine).Len(), r.logs.FilterMessage("kafka works again").Len(); warned != 3 || mended != 1 {
		t.Errorf("%d warnings and %d all-clears, want 3 and 1", warned, mended)
	}
	h.left()
	h.works(one)
	if err := h.ready(); !errors.Is(err, errNotMember) {
		t.Errorf("ready without membership: %v", err)
	}
}

func TestBackoffGrowsToItsLimit(t *testing.T) {
	t.Parallel()
	b := backoff{first: 100, limit: 1000}
	for _, most := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if wait := b.next(); wait < most/2 || wait > most {
			t.Errorf("waits %d, want half to all of %d", wait, most)
		}
	}
	b.attempts = 1000
	if wait := b.next(); wait > 1000 || wait < 500 {
		t.Errorf("waits %d after a long outage", wait)
	}
	b.reset()
	if wait := b.next(); wait > 100 {
		t.Errorf("waits %d after a reset", wait)
	}
}

// The log of a whole life holds nothing of what the records hold.
func TestLogsNoContent(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.StartEmbedded(t)
	cluster.CreateTopic(t, "quiet", 1, nil)
	cluster.Produce(t, "quiet", kgo.NoCompression(), &kgo.Record{Key: []byte("192.0.2.77"), Value: []byte("192.0.2.77")})
	r := run(t, cluster, "quiet", []string{"quiet"})
	r.await(t, "the record", func(v view) bool { return len(v.values()) == 1 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	encoder := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	for _, entry := range r.logs.All() {
		line, err := encoder.EncodeEntry(entry.Entry, entry.Context)
		if err != nil {
			t.Fatal(err)
		}
		if text := line.String(); strings.Contains(text, "192.0.2.77") {
			t.Errorf("logged: %s", text)
		}
	}
}
