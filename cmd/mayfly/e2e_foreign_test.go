package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
)

// foreign is a topic that another client writes, and what of it must be found.
type foreign struct {
	name   string
	config map[string]string
	write  func(t *testing.T, kafka *kafkatest.Cluster, topic string, events []foreignEvent)
	lost   func(number int) bool // nil: all are events
}

type foreignEvent struct {
	number int
	at     time.Time
	record *kgo.Record
}

const foreignEvents = 120

var foreignTopics = []foreign{
	{name: "none", write: writeWith(kgo.NoCompression())},
	{name: "gzip", write: writeWith(kgo.GzipCompression())},
	{name: "snappy", write: writeWith(kgo.SnappyCompression())},
	{name: "lz4", write: writeWith(kgo.Lz4Compression())},
	{name: "zstd", write: writeWith(kgo.ZstdCompression())},
	{name: "transactions", write: writeTransactions, lost: isAborted},
	{name: "append-time", write: writeStamped, config: map[string]string{"message.timestamp.type": "LogAppendTime"}},
}

func writeWith(codec kgo.CompressionCodec) func(*testing.T, *kafkatest.Cluster, string, []foreignEvent) {
	return func(t *testing.T, kafka *kafkatest.Cluster, topic string, events []foreignEvent) {
		kafka.Produce(t, topic, codec, recordsOf(events)...)
	}
}

func recordsOf(events []foreignEvent) (records []*kgo.Record) {
	for _, e := range events {
		records = append(records, e.record)
	}
	return records
}

const transactionSize = 10

// isAborted: every third transaction is.
func isAborted(number int) bool { return number/transactionSize%3 == 1 }

func writeTransactions(t *testing.T, kafka *kafkatest.Cluster, topic string, events []foreignEvent) {
	client := kafka.Client(t, kgo.DefaultProduceTopic(topic), kgo.TransactionalID(topic))
	for part := range slices.Chunk(events, transactionSize) {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), recordsOf(part)...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := client.EndTransaction(t.Context(), kgo.TransactionEndTry(!isAborted(part[0].number))); err != nil {
			t.Fatal(err)
		}
	}
}

// writeStamped claims absurd stamps, which a LogAppendTime topic replaces.
func writeStamped(t *testing.T, kafka *kafkatest.Cluster, topic string, events []foreignEvent) {
	for i, e := range events {
		e.record.Timestamp = []time.Time{time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Now().AddDate(0, 0, 1)}[i%2]
	}
	kafka.Produce(t, topic, kgo.NoCompression(), recordsOf(events)...)
}

// testForeignClients has a policy for each topic, so that the store's directories tell them apart.
func testForeignClients(t *testing.T, kafka *kafkatest.Cluster) {
	const window, length = 30 * time.Minute, 20 * time.Second
	var names []string
	for _, f := range foreignTopics {
		names = append(names, f.name)
	}
	s := newE2E(t, kafka, window, names...)
	var policies []map[string]any
	wanted := map[string]map[string]int64{} // by policy and session: its time
	for i, f := range foreignTopics {
		kafka.CreateTopic(t, s.topics[i], 2, f.config)
		policies = append(policies, map[string]any{
			"name": f.name, "match": map[string]any{"topic": []string{s.topics[i]}},
			"window": window.String(), "epoch": length.String(), "basis": "test",
		})
		var events []foreignEvent
		wanted[f.name] = map[string]int64{}
		for number := range foreignEvents {
			at := time.Now().Add(-time.Duration(number) * 5 * time.Second)
			events = append(events, foreignEvent{number, at, &kgo.Record{
				Partition: int32(number / transactionSize % 2), Timestamp: at.Add(-time.Second * time.Duration(number%2)),
				Value: fmt.Appendf(nil, `{"time":%d,"account":"a-%s","ip":"198.51.100.7","session":"s%d"}`, at.UnixMilli(), f.name, number),
			}})
			if f.lost == nil || !f.lost(number) {
				wanted[f.name]["s"+itoa(number)] = at.UnixMilli() - int64(number%2)*1000 // the stamp is the earlier
			}
			if f.config != nil {
				wanted[f.name]["s"+itoa(number)] = at.UnixMilli() // the broker's stamp is the later
			}
		}
		f.write(t, kafka, s.topics[i], events)
	}
	s.Config["policies"] = policies
	p := s.Start(t, "run")
	var total int
	for _, of := range wanted {
		total += len(of)
	}
	awaitStored(t, p, float64(total))
	mayflytest.Eventually(t, "all is committed", func() bool {
		committed, end := s.committed(t)
		return committed == end
	})
	for _, f := range foreignTopics {
		got := map[string]int64{}
		for _, e := range p.LookWhole(t, lookup.Request{Account: "a-" + f.name}).Events {
			got[e.Session] = e.Time.UnixMilli()
		}
		if diff := cmp.Diff(wanted[f.name], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", f.name, diff)
		}
		epochs := map[int64]bool{}
		for at := range maps.Values(wanted[f.name]) {
			epochs[at-at%length.Milliseconds()] = true
		}
		if diff := cmp.Diff(epochs, s.writtenEpochs(t, f.name)); diff != "" {
			t.Errorf("%s: epochs (-want +got):\n%s", f.name, diff)
		}
	}
	if n := p.Metric(`mayfly_ingest_events_total`); int(n) != total {
		t.Errorf("%v messages were judged, want %d: markers and aborted records are none", n, total)
	}
}

// writtenEpochs lists the starts of the policy's epochs in which somebody has written.
func (s *e2eSystem) writtenEpochs(t *testing.T, policy string) map[int64]bool {
	t.Helper()
	client := s.Data.Client(t)
	found := map[int64]bool{}
	keys := client.ScanType(t.Context(), 0, "mayfly:{"+policy+"/*", 1000, "hash").Iterator()
	for keys.Next(t.Context()) {
		fields, err := client.HKeys(t.Context(), keys.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(fields, func(field string) bool { return strings.HasPrefix(field, "manifest ") }) {
			_, span, _ := strings.Cut(keys.Val(), "/")
			start, err := strconv.ParseInt(span[:strings.IndexByte(span, '+')], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			found[start] = true
		}
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}
