package kafkain

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
)

func TestReadsForeignCodecs(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "codecs", 1, nil)
	var want []string
	for codec, name := range codecNames {
		records := numbered(name, 200, 1)
		for _, record := range records {
			want = append(want, string(record.Value))
		}
		cluster.Produce(t, "codecs", codecs[codec], records...)
	}
	slices.Sort(want)
	r := run(t, cluster, "codecs", []string{"codecs"})
	r.await(t, "all records", func(v view) bool { return len(v.values()) >= len(want) })
	if diff := cmp.Diff(want, r.look().values()); diff != "" {
		t.Error(diff)
	}
	if read := r.metric(t, "mayfly_kafka_records_total"); read != float64(len(want)) {
		t.Errorf("%v records counted, want %d", read, len(want))
	}
}

func TestStampIsTheBrokersOnLogAppendTime(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	if !cluster.Real() {
		t.Skip("the embedded broker takes LogAppendTime for a setting and stamps nothing")
	}
	cluster.CreateTopic(t, "append-time", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	cluster.CreateTopic(t, "create-time", 1, map[string]string{"message.timestamp.after.max.ms": "86400000"})
	past, future := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Now().Add(23*time.Hour)
	before := time.Now()
	for codec := range codecNames {
		for _, topic := range []string{"append-time", "create-time"} {
			cluster.Produce(t, topic, codecs[codec], &kgo.Record{Value: []byte("past"), Timestamp: past},
				&kgo.Record{Value: []byte("future"), Timestamp: future})
		}
	}
	after := time.Now()

	appended := run(t, cluster, "append-time", []string{"append-time"})
	appended.await(t, "all records", func(v view) bool { return len(v.values()) == 10 })
	if got := appended.look().appendTime; got[false] != 0 || got[true] == 0 {
		t.Errorf("batches by append time: %v", got)
	}
	for _, records := range appended.look().records {
		for _, record := range records {
			if record.Stamp < before.UnixMilli()-1000 || record.Stamp > after.UnixMilli()+1000 {
				t.Errorf("%s: stamp %v is not the broker's", record.Value, time.UnixMilli(record.Stamp))
			}
		}
	}
	created := run(t, cluster, "create-time", []string{"create-time"})
	created.await(t, "all records", func(v view) bool { return len(v.values()) == 10 })
	for _, records := range created.look().records {
		for _, record := range records {
			want := map[string]time.Time{"past": past, "future": future}[record.Value].UnixMilli()
			if record.Stamp != want {
				t.Errorf("%s: stamp %d, want the producer's %d", record.Value, record.Stamp, want)
			}
		}
	}
}

// Two producers' transactions are interleaved, every other one is aborted.
func TestReadsExactlyTheCommitted(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "transactions", 1, nil)
	want, all := writeTransactions(t, cluster)

	r := run(t, cluster, "committed", []string{"transactions"})
	r.await(t, "the last record", func(v view) bool { return slices.Contains(v.values(), "the end") })
	if diff := cmp.Diff(want, r.look().values()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int64{0}, slices.Collect(maps.Values(r.look().gaps))); diff != "" {
		t.Errorf("markers and aborted records are no gaps: %s", diff)
	}

	uncommitted := run(t, cluster, "uncommitted", []string{"transactions"}, func(r *rig) { r.config.Uncommitted = true })
	uncommitted.await(t, "the last record", func(v view) bool { return slices.Contains(v.values(), "the end") })
	if diff := cmp.Diff(all, uncommitted.look().values()); diff != "" {
		t.Errorf("uncommitted: %s", diff)
	}
}

func writeTransactions(t *testing.T, cluster *kafkatest.Cluster) (committed, all []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var producers []*kgo.Client
	for i := range 2 {
		producers = append(producers, cluster.Client(t, kgo.TransactionalID(fmt.Sprint("producer ", i)), kgo.DefaultProduceTopic("transactions")))
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	for round := range 6 {
		for _, producer := range producers {
			must(producer.BeginTransaction())
		}
		for step := range 3 {
			for i, producer := range producers {
				text := fmt.Sprintf("round %d producer %d step %d", round, i, step)
				must(producer.ProduceSync(ctx, &kgo.Record{Value: []byte(text)}).FirstErr())
				all = append(all, text)
				if (round+i)%2 == 0 {
					committed = append(committed, text)
				}
			}
		}
		cluster.Produce(t, "transactions", kgo.NoCompression(), &kgo.Record{Value: fmt.Appendf(nil, "plain %d", round)})
		all, committed = append(all, fmt.Sprint("plain ", round)), append(committed, fmt.Sprint("plain ", round))
		for i, producer := range producers {
			must(producer.EndTransaction(ctx, kgo.TransactionEndTry((round+i)%2 == 0)))
		}
	}
	cluster.Produce(t, "transactions", kgo.NoCompression(), &kgo.Record{Value: []byte("the end")})
	all, committed = append(all, "the end"), append(committed, "the end")
	slices.Sort(all)
	slices.Sort(committed)
	return committed, all
}

// A fetch that holds markers and aborted records only still moves what is committed.
func TestMovesPastAbortedOnly(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "aborted", 1, nil)
	producer := cluster.Client(t, kgo.TransactionalID("aborting"), kgo.DefaultProduceTopic("aborted"))
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := producer.ProduceSync(t.Context(), numbered("void", 5, 1)...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := producer.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	r := run(t, cluster, "aborted", []string{"aborted"}, func(r *rig) { r.commitEach = true })
	r.await(t, "the end of the log", func(v view) bool {
		for _, next := range v.next {
			return next == 6
		}
		return false
	})
	if got := r.look().values(); len(got) != 0 {
		t.Errorf("aborted records were handed over: %q", got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	offsets, err := cluster.Admin(t).FetchOffsets(t.Context(), "aborted")
	if err != nil {
		t.Fatal(err)
	}
	if committed, _ := offsets.Lookup("aborted", 0); committed.At != 6 {
		t.Errorf("committed %d, want 6", committed.At)
	}
}

func TestReadsLargeMessage(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "large", 1, map[string]string{"max.message.bytes": "12000000"})
	large := bytes.Repeat([]byte("0123456789"), 1<<20)
	cluster.Produce(t, "large", kgo.NoCompression(), &kgo.Record{Value: large}, &kgo.Record{Value: []byte("small")})
	r := run(t, cluster, "large", []string{"large"}, func(r *rig) { r.config.FetchBytes = 64 << 10 })
	r.await(t, "both messages", func(v view) bool { return len(v.values()) == 2 })
	if r.look().values()[0] != string(large) {
		t.Error("the large message is not what was sent")
	}
}

// The broker waits as long as it is asked to: a partition costs few fetches where nothing comes, and
// where little comes often.
func TestQuietPartitionIsFetchedRarely(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	for topic, records := range map[string]int{"idle": 0, "trickle": 50} {
		t.Run(topic, func(t *testing.T) {
			t.Parallel()
			cluster.CreateTopic(t, topic, 1, nil)
			r := run(t, cluster, topic, []string{topic}, func(r *rig) { r.config.FetchWait = 500 * time.Millisecond })
			r.await(t, "the assignment", func(v view) bool { return v.generations > 0 })
			before := r.metric(t, "mayfly_kafka_fetches_total")
			began := time.Now()
			over := time.After(2 * time.Second) // the rate is what is tested
			for i := range records {
				cluster.Produce(t, topic, kgo.NoCompression(), &kgo.Record{Value: fmt.Appendf(nil, "%d", i)})
				time.Sleep(30 * time.Millisecond)
			}
			<-over
			took := time.Since(began)
			if fetches := r.metric(t, "mayfly_kafka_fetches_total") - before; fetches < 2 || fetches > 2*took.Seconds()+4 {
				t.Errorf("%v fetches in %v with a wait of 0.5 s", fetches, took)
			}
			r.await(t, "all records", func(v view) bool { return len(v.values()) == records })
		})
	}
}
