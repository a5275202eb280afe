package kafkain

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
)

func TestRecordSetReadsWhatItsLengthSays(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, setStep - 1, setStep, 5*setStep + 3} {
		want := bytes.Repeat([]byte{7}, size)
		stream := append(binary.BigEndian.AppendUint32(nil, uint32(size)), want...)
		var set recordSet
		n, err := set.ReadFrom(bytes.NewReader(append(stream, "what follows"...)))
		if err != nil || n != int64(len(stream)) || !bytes.Equal(set.bytes(), want) {
			t.Errorf("size %d: %d bytes, %v", size, n, err)
		}
		set.release()
		if set.bytes() != nil {
			t.Error("a released set still has its buffer")
		}
	}
	var null recordSet
	if n, err := null.ReadFrom(bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})); n != 4 || err != nil || null.bytes() != nil {
		t.Errorf("null: %d, %v", n, err)
	}
}

// (Not parallel: it looks at a buffer that others may have by then.)
func TestReleasedRecordSetIsErased(t *testing.T) {
	const message = "203.0.113.7"
	var set recordSet
	if _, err := set.ReadFrom(bytes.NewReader(append([]byte{0, 0, 0, byte(len(message))}, message...))); err != nil {
		t.Fatal(err)
	}
	left := set.bytes()
	set.release()
	if bytes.Contains(left, []byte("203")) {
		t.Error("the next fetch's buffer has this one's messages")
	}
}

// A length that lies costs an error and no memory. (Not parallel: it measures the heap.)
func TestRecordSetDoesNotTrustItsLength(t *testing.T) {
	for _, length := range []uint32{maxRecordSet, maxRecordSet + 1, 1<<31 - 1} {
		stream := append(binary.BigEndian.AppendUint32(nil, length), make([]byte, 100)...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var set recordSet
		_, err := set.ReadFrom(bytes.NewReader(stream))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%d bytes were announced, 100 came, and nobody minded", length)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4*setStep {
			t.Errorf("%d bytes were allocated for 100", grown)
		}
	}
}

// endless gives zeros for ever and counts them.
type endless struct{ given int }

func (e *endless) Read(b []byte) (int, error) {
	e.given += len(b)
	return len(b), nil
}

func TestRecordSetHasALimit(t *testing.T) {
	t.Parallel()
	var zeros endless
	var set recordSet
	head := binary.BigEndian.AppendUint32(nil, maxRecordSet+1)
	if _, err := set.ReadFrom(io.MultiReader(bytes.NewReader(head), &zeros)); err == nil || zeros.given != 0 {
		t.Errorf("%d bytes were read of more than any fetch brings: %v", zeros.given, err)
	}
}

// canned answers fetches with one partition.
type canned struct {
	topic string
	fetchedPartition
	err error
}

func (c canned) RoundTrip(context.Context, net.Addr, kafka.Request) (kafka.Response, error) {
	return &fetchResponse{Topics: []fetchedTopic{{Topic: c.topic, Partitions: []fetchedPartition{c.fetchedPartition}}}}, c.err
}

func (c canned) withRecords(set []byte) canned {
	c.Records = recordSet{buffer: &set}
	return c
}

// newTestReader reads a topic of an embedded broker that has ten records.
func newTestReader(t *testing.T) (*reader, *rig) {
	t.Helper()
	cluster := kafkatest.StartEmbedded(t)
	cluster.CreateTopic(t, "t", 1, nil)
	cluster.Produce(t, "t", kgo.NoCompression(), numbered("record", 10, 1)...)
	r := prepare(t, cluster.Brokers(), "g", []string{"t"})
	admin, err := newAdmin(r.config, r.security)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.close)
	topics, err := admin.topics(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	r.journal.next = map[Partition]int64{}
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	m := &member{Consumer: r.Consumer, admin: admin, transport: transport, handler: r.journal}
	return newReader(m, Partition{Topic: "t", ID: topics["t"].id}, 0), r
}

func TestStepReads(t *testing.T) {
	t.Parallel()
	reader, r := newTestReader(t)
	if err := reader.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reader.offset != 10 || len(r.look().values()) != 10 {
		t.Errorf("at %d after %d records", reader.offset, len(r.look().values()))
	}
}

// asking keeps what a fetch asked for.
type asking struct {
	canned
	least int32
}

func (a *asking) RoundTrip(ctx context.Context, addr net.Addr, r kafka.Request) (kafka.Response, error) {
	a.least = r.(*fetchRequest).MinBytes
	return a.canned.RoundTrip(ctx, addr, r)
}

// Only who has read the log to its end waits until a fetch is worth its while.
func TestStepWaitsForMoreOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	reader, _ := newTestReader(t)
	for i, step := range []struct {
		end  int64 // of the log, as the answer says
		want int32 // bytes that were asked for
	}{{12, 1}, {14, 1}, {3, 1}, {4, 1 << 19}, {9, 1 << 19}, {6, 1}} {
		set := batchPlan{base: int64(i), records: values("a")}.build(t)
		transport := &asking{canned: canned{topic: "t", fetchedPartition: fetchedPartition{HighWatermark: step.end}}.withRecords(set)}
		reader.fetcher.transport = transport
		if err := reader.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if transport.least != step.want {
			t.Errorf("fetch %d: at least %d bytes, want %d", i, transport.least, step.want)
		}
	}
}

func TestStepRefusesWrongAnswers(t *testing.T) {
	t.Parallel()
	reader, r := newTestReader(t)
	good := batchPlan{base: 5, records: values("a", "b")}.build(t)
	corrupt := bytes.Clone(good)
	corrupt[len(corrupt)-1] ^= 1
	reader.offset = 5
	for name, test := range map[string]struct {
		answer canned
		want   error
	}{
		"connection lost":    {canned{topic: "t", err: io.EOF}, io.EOF},
		"no leader":          {canned{topic: "t", fetchedPartition: fetchedPartition{ErrorCode: 6}}, kafka.NotLeaderForPartition},
		"other topic":        {canned{topic: "u"}.withRecords(good), errOtherPartition},
		"other partition":    {canned{topic: "t", fetchedPartition: fetchedPartition{Partition: 1}}.withRecords(good), errOtherPartition},
		"corrupt":            {canned{topic: "t"}.withRecords(corrupt), errCorrupt},
		"cut off":            {canned{topic: "t"}.withRecords(good[:70]), errIncomplete},
		"only what was read": {canned{topic: "t"}.withRecords(batchPlan{base: 3, records: values("old")}.build(t)), errNoProgress},
	} {
		reader.fetcher.transport = test.answer
		if err := reader.step(t.Context()); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff([]string(nil), r.look().values()); diff != "" || reader.offset != 5 {
		t.Errorf("went on to %d with %s", reader.offset, diff)
	}
	if corrupt := r.metric(t, "mayfly_kafka_corrupt_batches_total"); corrupt != 1 {
		t.Errorf("%v corrupt batches counted", corrupt)
	}
}

// After any failure, and where the offset is gone, the topic's ID is looked at before its records are taken.
func TestStepNoticesAnotherTopicOfTheName(t *testing.T) {
	t.Parallel()
	reader, r := newTestReader(t)
	reader.partition.ID[0] ^= 1
	reader.doubtful = true
	if err := reader.step(t.Context()); !errors.Is(err, errTopicsChanged) {
		t.Errorf("after a failure: %v", err)
	}
	reader.doubtful, reader.offset = false, 1000
	if err := reader.step(t.Context()); !errors.Is(err, errTopicsChanged) {
		t.Errorf("with an offset out of range: %v", err)
	}
	if got := r.look().values(); len(got) != 0 {
		t.Errorf("took records of another topic: %q", got)
	}
}

// A batch that nobody can decode is passed and counted; what stands around it is read.
func TestStepPassesUndecodableBatches(t *testing.T) {
	t.Parallel()
	reader, r := newTestReader(t)
	var set []byte
	for i, plan := range []batchPlan{
		{records: values("a")}, {attributes: 7, payload: []byte{0}, count: 1}, {attributes: 4, payload: []byte{0}, count: 1},
		{payload: []byte{0}, count: 1}, {codec: 4, records: []recordPlan{{value: make([]byte, maxDecompressed)}}}, {records: values("z")},
	} {
		plan.base = int64(i)
		set = append(set, plan.build(t)...)
	}
	reader.fetcher.transport = canned{topic: "t"}.withRecords(set)
	if err := reader.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "z"}, r.look().values()); diff != "" {
		t.Error(diff)
	}
	if gap := r.look().gaps[reader.partition]; gap != 4 || reader.offset != 6 {
		t.Errorf("at %d with a gap of %d", reader.offset, gap)
	}
	reasons := map[string]bool{}
	for _, entry := range r.logs.FilterMessage("a record batch is intact but can't be decoded: skipping it").All() {
		reasons[entry.ContextMap()["reason"].(string)] = true
	}
	if diff := cmp.Diff(map[string]bool{"codec": true, "compression": true, "malformed": true, "too_large": true}, reasons); diff != "" {
		t.Error(diff)
	}
}

// A fetch may hold several batches: when the generation ends amid them, the rest is not handed over.
func TestStepStopsWithTheGeneration(t *testing.T) {
	t.Parallel()
	reader, r := newTestReader(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.journal.hold = func(context.Context, *Batch) { cancel() }
	reader.fetcher.transport = canned{topic: "t"}.withRecords(buildSet(t,
		batchPlan{records: values("a")}, batchPlan{base: 1, attributes: attributeAppendTime, records: values("b")}))
	if err := reader.step(ctx); !errors.Is(err, context.Canceled) || reader.offset != 1 || len(r.look().values()) != 1 {
		t.Errorf("at %d with %q: %v", reader.offset, r.look().values(), err)
	}
}
