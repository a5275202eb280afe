package kafkain

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batchPlan says how a test wants a record batch to be.
type batchPlan struct {
	base       int64
	attributes int16 // without the codec
	codec      int16
	producer   int64
	baseStamp  int64
	maxStamp   int64
	lastDelta  int32 // 0: that of the last record
	records    []recordPlan
	payload    []byte // instead of records, as it is
	count      int32  // with payload
}

type recordPlan struct {
	delta   int64
	stamp   int64
	key     []byte
	value   []byte
	headers int
}

// values plans consecutive records.
func values(texts ...string) []recordPlan {
	var plans []recordPlan
	for i, text := range texts {
		plans = append(plans, recordPlan{delta: int64(i), value: []byte(text)})
	}
	return plans
}

func (p batchPlan) build(t testing.TB) []byte {
	t.Helper()
	payload, count, lastDelta := p.payload, p.count, p.lastDelta
	if payload == nil {
		for _, record := range p.records {
			payload = appendRecord(payload, record)
		}
		count = int32(len(p.records))
		if lastDelta == 0 && count > 0 {
			lastDelta = int32(p.records[count-1].delta)
		}
		payload = compress(t, p.codec, payload)
	}
	out := make([]byte, atRecords, atRecords+len(payload))
	binary.BigEndian.PutUint64(out, uint64(p.base))
	binary.BigEndian.PutUint32(out[atLength:], uint32(atRecords-atLength-4+len(payload)))
	out[atMagic] = 2
	binary.BigEndian.PutUint16(out[atAttributes:], uint16(p.attributes|p.codec))
	binary.BigEndian.PutUint32(out[atLastDelta:], uint32(lastDelta))
	binary.BigEndian.PutUint64(out[atBaseStamp:], uint64(p.baseStamp))
	binary.BigEndian.PutUint64(out[atMaxStamp:], uint64(p.maxStamp))
	binary.BigEndian.PutUint64(out[atProducer:], uint64(p.producer))
	binary.BigEndian.PutUint32(out[atRecordCount:], uint32(count))
	out = append(out, payload...)
	binary.BigEndian.PutUint32(out[atChecksum:], crc32.Checksum(out[atAttributes:], castagnoli))
	return out
}

func appendRecord(b []byte, r recordPlan) []byte {
	body := []byte{0}
	body = binary.AppendVarint(body, r.stamp)
	body = binary.AppendVarint(body, r.delta)
	body = appendNullable(body, r.key)
	body = appendNullable(body, r.value)
	body = binary.AppendVarint(body, int64(r.headers))
	for range r.headers {
		body = appendNullable(appendNullable(body, []byte("name")), []byte("value"))
	}
	return append(binary.AppendVarint(b, int64(len(body))), body...)
}

func appendNullable(b, value []byte) []byte {
	if value == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(value))), value...)
}

// codecs are franz-go's, by Kafka's number.
var codecs = []kgo.CompressionCodec{
	kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
}

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func compress(t testing.TB, codec int16, payload []byte) []byte {
	t.Helper()
	if codec == 0 {
		return payload
	}
	compressor, err := kgo.DefaultCompressor(codecs[codec])
	if err != nil {
		t.Fatal(err)
	}
	out, _ := compressor.Compress(new(bytes.Buffer), payload)
	return bytes.Clone(out)
}

// marker plans the control batch that ends a transaction; kind 0 aborts, 1 commits.
func marker(base, producer int64, kind byte) batchPlan {
	return batchPlan{
		base: base, producer: producer, attributes: attributeTransactional | attributeControl,
		records: []recordPlan{{key: []byte{0, 0, 0, kind}, value: []byte{0, 0, 0, 0, 0, 0}}},
	}
}

func buildSet(t testing.TB, plans ...batchPlan) []byte {
	t.Helper()
	var set []byte
	for _, plan := range plans {
		set = append(set, plan.build(t)...)
	}
	return set
}

// seenBatch is what a test keeps of a Batch.
type seenBatch struct {
	AppendTime bool
	Records    []seenRecord
	Next, Gap  int64
	Bytes      int
}

type seenRecord struct {
	Offset, Stamp int64
	Value         string
	Tombstone     bool
}

func seen(b *Batch) seenBatch {
	s := seenBatch{AppendTime: b.AppendTime, Next: b.Next, Gap: b.Gap, Bytes: b.Bytes}
	for _, r := range b.Records {
		s.Records = append(s.Records, seenRecord{r.Offset, r.Stamp, strings.Clone(string(r.Value)), r.Value == nil})
	}
	return s
}

// decodeAll decodes a set with a fresh decoder.
func decodeAll(set []byte, from int64, aborted []abortedTransaction) (batches []seenBatch, refused []error, err error) {
	d := decoder{limit: 1 << 20, refused: func(reason error) { refused = append(refused, reason) }}
	err = d.decode(set, from, aborted, func(b *Batch) error {
		batches = append(batches, seen(b))
		return nil
	})
	return batches, refused, err
}

// fixChecksums makes the checksums of a set right again, so that fuzzing reaches what they protect.
func fixChecksums(set []byte) {
	for len(set) >= atRecords {
		size := int64(atLength) + 4 + int64(int32(binary.BigEndian.Uint32(set[atLength:])))
		if size < atRecords || size > int64(len(set)) {
			return
		}
		binary.BigEndian.PutUint32(set[atChecksum:], crc32.Checksum(set[atAttributes:size], castagnoli))
		set = set[size:]
	}
}
