package kafkain

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"

	"mayfly/pipeline/kafkain/kafkatest"
)

const missingLine = "waiting for kafka topics that do not exist"

// A topic that does not exist is waited for and not created, though the broker would create it.
func TestWaitsForATopic(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "there", 1, nil)
	cluster.Produce(t, "there", kgo.NoCompression(), numbered("there", 10, 1)...)
	none := run(t, cluster, "waits-1", []string{"not-there"})
	some := run(t, cluster, "waits-2", []string{"there", "not-there"})
	some.await(t, "what is there", func(v view) bool { return len(v.values()) == 10 })
	awaitTrue(t, "a warning", func() bool { return none.logs.FilterMessage(missingLine).Len() == 1 })
	if err := none.Ready(); err == nil {
		t.Error("ready without any topic")
	}
	if err := some.Ready(); err != nil {
		t.Errorf("not ready with one topic of two: %v", err)
	}
	topics, err := cluster.Admin(t).ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if topics.Has("not-there") {
		t.Fatal("waiting has created the topic")
	}
	cluster.CreateTopic(t, "not-there", 2, nil)
	cluster.Produce(t, "not-there", kgo.NoCompression(), numbered("new", 10, 2)...)
	none.await(t, "the new topic", func(v view) bool { return len(v.values()) == 10 })
	some.await(t, "the new topic", func(v view) bool { return v.distinct() == 20 })
	if lines := some.logs.FilterMessage(missingLine).Len(); lines != 1 {
		t.Errorf("warned %d times", lines)
	}
}

// Without topic IDs events of different topics would count as one another's copies:
// nothing is read, and it is said why.
func TestBrokersWithoutTopicIDsAreNotRead(t *testing.T) {
	t.Parallel()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(1, "old"), kfake.MaxVersions(kversion.V2_7_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	writer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("old"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(writer.Close)
	if err := writer.ProduceSync(t.Context(), numbered("record", 5, 1)...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r := prepare(t, cluster.ListenAddrs(), "old", []string{"old"})
	r.start(t)
	awaitTrue(t, "a warning", func() bool { return r.logs.FilterMessage(outageLine).Len() == 1 })
	if err := r.Ready(); err == nil || len(r.look().values()) != 0 {
		t.Errorf("ready: %v", err)
	}
	if text := fmt.Sprint(r.logs.FilterMessage(outageLine).All()[0].ContextMap()); !strings.Contains(text, "Kafka 2.8 or newer") {
		t.Errorf("it warns of %s", text)
	}
}

func TestReadsNewPartitions(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "growing", 1, nil)
	r := run(t, cluster, "growing", []string{"growing"})
	r.await(t, "one partition", func(v view) bool { return len(v.next) == 1 })
	if _, err := cluster.Admin(t).CreatePartitions(t.Context(), 2, "growing"); err != nil {
		t.Fatal(err)
	}
	r.await(t, "three partitions", func(v view) bool { return len(v.next) == 3 })
	cluster.Produce(t, "growing", kgo.NoCompression(), numbered("record", 30, 3)...)
	r.await(t, "all records", func(v view) bool { return v.distinct() == 30 })
}

// A topic made anew under its old name is another topic: its records begin at 0 under another ID.
func TestRecreatedTopicIsAnother(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "again", 1, nil)
	cluster.Produce(t, "again", kgo.NoCompression(), numbered("old", 50, 1)...)
	r := run(t, cluster, "again", []string{"again"}, func(r *rig) { r.commitEach = true })
	r.await(t, "the old records", func(v view) bool { return v.distinct() == 50 })
	// A commit may meet the topic's deletion; its errors are not the test's.
	r.update(func() { r.commitEach = false })
	admin := cluster.Admin(t)
	topicID := func() kadm.TopicID {
		topics, _ := admin.ListTopics(t.Context(), "again")
		return topics["again"].ID
	}
	before := topicID()
	if _, err := admin.DeleteTopic(t.Context(), "again"); err != nil {
		t.Fatal(err)
	}
	// kafka-go, which joins the group anew, may have made the topic first: where brokers allow it, it does.
	awaitTrue(t, "the new topic", func() bool {
		_, _ = admin.CreateTopic(t.Context(), 1, 1, nil, "again")
		after := topicID()
		return after != before && after != kadm.TopicID{}
	})
	cluster.Produce(t, "again", kgo.NoCompression(), numbered("new", 80, 1)...)
	r.await(t, "the new records", func(v view) bool { return v.distinct() == 130 })
	ids := map[[16]byte]bool{}
	for partition, records := range r.look().records {
		ids[partition.ID] = true
		kinds := map[string]bool{}
		for _, record := range records {
			kinds[record.Value[:3]] = true
		}
		if len(kinds) != 1 || records[0].Offset != 0 {
			t.Errorf("one ID has records of %d topics, from offset %d on", len(kinds), records[0].Offset)
		}
	}
	if len(ids) != 2 || ids[[16]byte{}] {
		t.Errorf("%d topic IDs", len(ids))
	}
}

// Records that were deleted before they were read are counted, and reading goes on behind them.
func TestDeletedRecordsAreAGap(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "deleted", 1, nil)
	cluster.Produce(t, "deleted", kgo.NoCompression(), numbered("record", 100, 1)...)
	first := run(t, cluster, "deleted", []string{"deleted"})
	first.await(t, "all records", func(v view) bool { return len(v.values()) == 100 })
	partition := only(first.look().next)
	if err := first.look().generation.Commit(map[Partition]int64{partition: 10}); err != nil {
		t.Fatal(err)
	}
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	var until kadm.Offsets
	until.AddOffset("deleted", 0, 60, -1)
	if _, err := cluster.Admin(t).DeleteRecords(t.Context(), until); err != nil {
		t.Fatal(err)
	}
	second := run(t, cluster, "deleted", []string{"deleted"})
	second.await(t, "what is left", func(v view) bool { return len(v.values()) == 40 })
	if gap := second.look().gaps[partition]; gap != 50 {
		t.Errorf("a gap of %d offsets, want 50", gap)
	}
	if first := second.look().records[partition][0].Offset; first != 60 {
		t.Errorf("went on at %d, want 60", first)
	}
	if skipped := second.metric(t, "mayfly_kafka_offsets_skipped_total"); skipped != 50 {
		t.Errorf("%v offsets counted as skipped", skipped)
	}
	if second.logs.FilterMessage("the offset to read is gone: going on at the start of the log").Len() != 1 {
		t.Error("no warning")
	}
}

// An offset beyond the end, of a log that was cut short, starts over: repeating is harmless, losing is not.
func TestOffsetBeyondTheEndStartsOver(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "beyond", 1, nil)
	cluster.Produce(t, "beyond", kgo.NoCompression(), numbered("record", 10, 1)...)
	var offsets kadm.Offsets
	offsets.AddOffset("beyond", 0, 1000, -1)
	if err := cluster.Admin(t).CommitAllOffsets(t.Context(), "beyond", offsets); err != nil {
		t.Fatal(err)
	}
	r := prepare(t, cluster.Brokers(), "beyond", []string{"beyond"})
	r.journal.backwards = true
	r.start(t)
	r.await(t, "all records", func(v view) bool { return len(v.values()) == 10 })
	if skipped := r.metric(t, "mayfly_kafka_offsets_skipped_total"); skipped != 0 {
		t.Errorf("%v offsets counted as skipped", skipped)
	}
}

func TestLagIsCounted(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "lagging", 1, nil)
	for range 10 { // ten batches of about 1 kB, fetched one by one
		cluster.Produce(t, "lagging", kgo.NoCompression(), numbered("record", 50, 1)...)
	}
	r := prepare(t, cluster.Brokers(), "lagging", []string{"lagging"})
	r.config.FetchBytes = 1 << 10
	r.journal.hold = func(ctx context.Context, b *Batch) {
		if b.Next > 200 {
			<-ctx.Done()
		}
	}
	r.start(t)
	awaitTrue(t, "the lag of what is held back", func() bool { return r.metric(t, "mayfly_kafka_lag_records") == 300 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if lag := r.metric(t, "mayfly_kafka_lag_records"); lag != 0 {
		t.Errorf("a lag of %v without any partition", lag)
	}
}

func TestWithoutKeepsOrder(t *testing.T) {
	t.Parallel()
	names := []string{"c", "a", "b"}
	if diff := cmp.Diff([]string{"c", "b"}, without(names, map[string]topic{"a": {}})); diff != "" {
		t.Error(diff)
	}
	if !slices.Equal(names, []string{"c", "a", "b"}) {
		t.Error("its argument was changed")
	}
}
