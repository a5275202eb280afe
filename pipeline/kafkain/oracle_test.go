package kafkain

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// oracle decodes with franz-go, which shares no code with this package but the compressors.
func oracle(set []byte, from int64, aborted []abortedTransaction) ([]seenRecord, error) {
	partition := kmsg.NewFetchResponseTopicPartition()
	partition.RecordBatches = set
	partition.HighWatermark = 1 << 40
	for _, a := range aborted {
		partition.AbortedTransactions = append(partition.AbortedTransactions,
			kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.Producer, FirstOffset: a.FirstOffset})
	}
	fetched, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, IsolationLevel: kgo.ReadCommitted()},
		&partition, kgo.DefaultDecompressor(), nil)
	var records []seenRecord
	for _, r := range fetched.Records {
		records = append(records, seenRecord{r.Offset, r.Timestamp.UnixMilli(), string(r.Value), r.Value == nil})
	}
	return records, fetched.Err
}

func TestDecodeAgreesWithOracle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		set, transactions, end := randomLog(t, random)
		from := random.Int64N(end)
		var aborted []abortedTransaction
		for _, transaction := range transactions {
			if transaction.end >= from { // a broker names only those that reach into the fetch
				aborted = append(aborted, transaction.abortedTransaction)
			}
		}
		want, err := oracle(set, from, aborted)
		if err != nil {
			t.Fatalf("seed %d: the oracle refuses the log: %v", seed, err)
		}
		batches, refused, err := decodeAll(set, from, aborted)
		if err != nil || len(refused) != 0 {
			t.Fatalf("seed %d: %v, refused %v", seed, err, refused)
		}
		var got []seenRecord
		for _, b := range batches {
			got = append(got, b.Records...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-oracle +decoder):\n%s", seed, diff)
		}
		if last := batches[len(batches)-1].Next; last != end {
			t.Fatalf("seed %d: stopped at %d of %d", seed, last, end)
		}
	}
}

// voidSpan is an aborted transaction and the offset of its marker.
type voidSpan struct {
	abortedTransaction
	end int64
}

// randomLog is a piece of a partition in which three producers run transactions, plain records go between.
func randomLog(t *testing.T, random *rand.Rand) (set []byte, aborted []voidSpan, end int64) {
	first := map[int64]int64{} // offset at which the producer's open transaction began
	for range 5 + random.IntN(30) {
		producer := random.Int64N(3) + 1
		start, open := first[producer]
		switch random.IntN(4) {
		case 0: // plain
			plan := randomBatch(random, end, -1, 0)
			set, end = append(set, plan.build(t)...), end+int64(plan.lastDelta)+1
		case 1: // marker
			if !open {
				continue
			}
			kind := byte(random.IntN(2))
			if kind == 0 {
				aborted = append(aborted, voidSpan{abortedTransaction{Producer: producer, FirstOffset: start}, end})
			}
			delete(first, producer)
			set, end = append(set, marker(end, producer, kind).build(t)...), end+1
		default:
			if !open {
				first[producer] = end
			}
			plan := randomBatch(random, end, producer, attributeTransactional)
			set, end = append(set, plan.build(t)...), end+int64(plan.lastDelta)+1
		}
	}
	for producer, start := range first {
		aborted = append(aborted, voidSpan{abortedTransaction{Producer: producer, FirstOffset: start}, math.MaxInt64})
	}
	random.Shuffle(len(aborted), func(i, j int) { aborted[i], aborted[j] = aborted[j], aborted[i] })
	plan := randomBatch(random, end, -1, 0)
	return append(set, plan.build(t)...), aborted, end + int64(plan.lastDelta) + 1
}

func randomBatch(random *rand.Rand, base, producer int64, attributes int16) batchPlan {
	plan := batchPlan{base: base, producer: producer, attributes: attributes, codec: int16(random.IntN(5)),
		baseStamp: random.Int64N(1 << 40), maxStamp: random.Int64N(1 << 40)}
	if random.IntN(2) == 0 {
		plan.attributes |= attributeAppendTime
	}
	delta := int64(0)
	for i := range 1 + random.IntN(20) {
		record := recordPlan{delta: delta, stamp: random.Int64N(2000) - 1000, headers: random.IntN(3)}
		if random.IntN(8) > 0 {
			record.value = []byte(strings.Repeat(fmt.Sprint("value ", i, " "), random.IntN(40)))
		}
		if random.IntN(2) == 0 {
			record.key = []byte("key")
		}
		plan.records = append(plan.records, record)
		delta += 1 + random.Int64N(2)*random.Int64N(3) // compaction leaves holes
	}
	plan.lastDelta = int32(delta - 1)
	return plan
}

// isPlain reports whether a set has batches that follow each other and no transactions.
func isPlain(set []byte) bool {
	for next := int64(0); len(set) > 0; {
		b, err := parseBatch(set)
		if err != nil || b.base < next || b.attributes&^(attributeCodec|attributeAppendTime) != 0 {
			return false
		}
		set, next = set[b.size:], b.last+1
	}
	return true
}

func FuzzDecode(f *testing.F) {
	f.Add(buildSet(f, batchPlan{records: values("a", "b")}), int64(0), int64(-1))
	f.Add(buildSet(f, batchPlan{base: 7, records: []recordPlan{{key: []byte("k"), headers: 1}}}), int64(7), int64(-1))
	f.Add(buildSet(f, batchPlan{attributes: attributeTransactional, producer: 1, records: values("a")}, marker(1, 1, 0),
		batchPlan{base: 2, attributes: attributeAppendTime, records: values("b")}), int64(0), int64(0))
	for codec := range codecNames {
		f.Add(buildSet(f, batchPlan{base: 3, codec: int16(codec), records: values("one", "two", "three")}), int64(4), int64(-1))
	}
	f.Fuzz(func(t *testing.T, set []byte, from, abortedAt int64) {
		fixChecksums(set)
		if from < 0 || from > 1<<40 {
			return
		}
		var aborted []abortedTransaction
		if abortedAt >= 0 {
			aborted = []abortedTransaction{{Producer: 1, FirstOffset: abortedAt}}
		}
		batches, refused, err := decodeAll(set, from, aborted)
		position := from
		var got []seenRecord
		for _, b := range batches {
			if b.Next <= position || b.Gap < 0 || b.Gap > b.Next-position {
				t.Fatalf("from %d to %d with a gap of %d", position, b.Next, b.Gap)
			}
			if int64(len(b.Records)) > b.Next-position-b.Gap {
				t.Fatal("more records than offsets")
			}
			for _, r := range b.Records {
				if r.Offset < position || r.Offset >= b.Next {
					t.Fatal("a record out of its batch's range")
				}
				position = r.Offset + 1
			}
			position = b.Next
			for _, r := range b.Records {
				r.Stamp = time.Unix(0, r.Stamp*1e6).UnixMilli() // the oracle counts in nanoseconds, to the year 2262
				got = append(got, r)
			}
		}
		if err != nil || len(refused) > 0 || !isPlain(set) {
			return // the two may differ where no broker goes
		}
		if want, err := oracle(set, from, aborted); err == nil {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-oracle +decoder):\n%s", diff)
			}
		}
	})
}
