package kafkain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A record batch, version 2 (https://kafka.apache.org/documentation/#recordbatch):
// where its fields are. The checksum covers everything from the attributes on.
const (
	atLength      = 8  // int32, of what follows it
	atMagic       = 16 // int8
	atChecksum    = 17 // CRC-32C
	atAttributes  = 21 // int16
	atLastDelta   = 23 // int32
	atBaseStamp   = 27 // int64, ms
	atMaxStamp    = 35 // int64, ms
	atProducer    = 43 // int64
	atRecordCount = 57 // int32, after the producer's epoch and sequence
	atRecords     = 61
)

const (
	attributeCodec         = 0b111
	attributeAppendTime    = 1 << 3
	attributeTransactional = 1 << 4
	attributeControl       = 1 << 5
)

var (
	// errCorrupt: the bytes are not what the broker took in. Fetching again may help, reading on would lose records.
	errCorrupt = errors.New("corrupt record batch")
	// errIncomplete: the set ends inside a batch, as the last one of a fetch may.
	errIncomplete = errors.New("the record set ends inside a batch")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordBatch is a batch whose checksum held. Its records are still compressed.
type recordBatch struct {
	base, last int64 // offsets
	attributes int16
	baseStamp  int64
	maxStamp   int64
	producer   int64
	count      int32
	records    []byte
	size       int // on the wire
}

// parseBatch reads the first batch of a record set.
func parseBatch(set []byte) (recordBatch, error) {
	if len(set) <= atMagic {
		return recordBatch{}, errIncomplete
	}
	if set[atMagic] != 2 {
		return recordBatch{}, fmt.Errorf("%w: message format %d, only 2 (Kafka 0.11 and later) is read", errCorrupt, int8(set[atMagic]))
	}
	length := int64(int32(binary.BigEndian.Uint32(set[atLength:])))
	size := atLength + 4 + length
	switch {
	case size < atRecords:
		return recordBatch{}, fmt.Errorf("%w: shorter than its header", errCorrupt)
	case size > int64(len(set)):
		return recordBatch{}, errIncomplete
	}
	set = set[:size]
	if crc32.Checksum(set[atAttributes:], castagnoli) != binary.BigEndian.Uint32(set[atChecksum:]) {
		return recordBatch{}, fmt.Errorf("%w: checksum mismatch", errCorrupt)
	}
	b := recordBatch{
		base:       int64(binary.BigEndian.Uint64(set)),
		attributes: int16(binary.BigEndian.Uint16(set[atAttributes:])),
		baseStamp:  int64(binary.BigEndian.Uint64(set[atBaseStamp:])),
		maxStamp:   int64(binary.BigEndian.Uint64(set[atMaxStamp:])),
		producer:   int64(binary.BigEndian.Uint64(set[atProducer:])),
		count:      int32(binary.BigEndian.Uint32(set[atRecordCount:])),
		records:    set[atRecords:],
		size:       int(size),
	}
	b.last = b.base + int64(int32(binary.BigEndian.Uint32(set[atLastDelta:])))
	if b.base < 0 || b.last < b.base {
		return recordBatch{}, fmt.Errorf("%w: impossible offsets", errCorrupt)
	}
	return b, nil
}

func (b *recordBatch) is(attribute int16) bool { return b.attributes&attribute != 0 }
