package store

import (
	"encoding/binary"
	"errors"
	"math"

	"mayfly/retention/record"
	"mayfly/retention/seal"
)

var errEdgeRows = errors.New("malformed edge rows")

// edgeFormat is the first byte of a payload with segments that were sealed at the
// edge; record's formats begin with others.
const edgeFormat = 0x81

// appendEdgeRows encodes segments of one chunk, integers as uvarints:
//
//	version
//	topics: count, UUIDs
//	wraps: count; each 1, writer (8), length, encapsulated frame key; or, where the
//	       writer of this frame has put it into the chunk before, 0, its id (16)
//	rows: count; each topic, partition, offset, wrap, length, segment
//
// first says whether the chunk has not got a wrap yet.
func appendEdgeRows(dst []byte, rows []edgeRow, first func(seal.WrapID) bool) []byte {
	topics, wraps := map[[16]byte]int{}, map[seal.WrapID]int{}
	var topicTable, wrapTable []byte
	for _, r := range rows {
		if _, there := topics[r.batch.ID.Topic]; !there {
			topics[r.batch.ID.Topic] = len(topics)
			topicTable = append(topicTable, r.batch.ID.Topic[:]...)
		}
		if _, there := wraps[r.wrap]; there {
			continue
		}
		wraps[r.wrap] = len(wraps)
		if first(r.wrap) {
			wrapTable = append(append(wrapTable, 1), r.batch.Wrap.Writer[:]...)
			wrapTable = binary.AppendUvarint(wrapTable, uint64(len(r.batch.Wrap.Encapsulated)))
			wrapTable = append(wrapTable, r.batch.Wrap.Encapsulated...)
		} else {
			wrapTable = append(append(wrapTable, 0), r.wrap[:]...)
		}
	}
	dst = append(dst, edgeFormat)
	dst = append(binary.AppendUvarint(dst, uint64(len(topics))), topicTable...)
	dst = append(binary.AppendUvarint(dst, uint64(len(wraps))), wrapTable...)
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	for _, r := range rows {
		dst = binary.AppendUvarint(dst, uint64(topics[r.batch.ID.Topic]))
		dst = binary.AppendUvarint(dst, uint64(uint32(r.batch.ID.Partition)))
		dst = binary.AppendUvarint(dst, uint64(r.batch.ID.Offset))
		dst = binary.AppendUvarint(dst, uint64(wraps[r.wrap]))
		dst = binary.AppendUvarint(dst, uint64(len(r.segment)))
		dst = append(dst, r.segment...)
	}
	return dst
}

// segments are what the frames of a chunk hold of edge batches.
type segments struct {
	wraps map[seal.WrapID]seal.Wrap
	rows  []segmentRow
}

type segmentRow struct {
	id      record.ID // of the Kafka record
	wrap    seal.WrapID
	segment []byte
}

func isEdge(payload []byte) bool { return len(payload) > 0 && payload[0] == edgeFormat }

// add reads what appendEdgeRows wrote, and keeps slices of it. Everything is
// bounded by the payload's own length.
func (s *segments) add(payload []byte) error {
	c := cutter{rest: payload[1:]}
	topics := c.bytes(16 * c.count(16))
	wraps := make([]seal.WrapID, c.count(1+16))
	for i := range wraps {
		switch c.count(0) {
		case 0:
			copy(wraps[i][:], c.bytes(16))
		case 1:
			var wrap seal.Wrap
			copy(wrap.Writer[:], c.bytes(len(wrap.Writer)))
			wrap.Encapsulated = c.bytes(c.count(1))
			wraps[i] = wrap.ID()
			if s.wraps == nil {
				s.wraps = map[seal.WrapID]seal.Wrap{}
			}
			s.wraps[wraps[i]] = wrap
		default:
			c.failed = true
		}
	}
	for range c.count(5) {
		topic, partition, offset := c.count(0), c.number(math.MaxInt32), c.number(math.MaxInt64)
		wrap, segment := c.count(0), c.bytes(c.count(1))
		if c.failed || topic >= len(topics)/16 || wrap >= len(wraps) {
			return errEdgeRows
		}
		id := record.ID{Topic: [16]byte(topics[16*topic:]), Partition: int32(partition), Offset: int64(offset)}
		s.rows = append(s.rows, segmentRow{id, wraps[wrap], segment})
	}
	if c.failed || len(c.rest) != 0 {
		return errEdgeRows
	}
	return nil
}

// cutter cuts values off the front of a payload. The first error sticks.
type cutter struct {
	rest   []byte
	failed bool
}

func (c *cutter) bytes(n int) []byte {
	if n > len(c.rest) {
		c.failed, c.rest = true, nil
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cutter) number(most uint64) uint64 {
	value, n := binary.Uvarint(c.rest)
	if n <= 0 || value > most {
		c.failed, c.rest = true, nil
		return 0
	}
	c.rest = c.rest[n:]
	return value
}

// count reads how many things of at least size bytes follow.
func (c *cutter) count(size int) int {
	n := int(c.number(math.MaxInt32))
	if size > 0 && n > len(c.rest)/size {
		c.failed, c.rest = true, nil
		return 0
	}
	return n
}
