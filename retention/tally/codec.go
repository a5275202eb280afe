package tally

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

var errFormat = errors.New("malformed tally")

// Bounds of what is read.
const (
	maxName  = 249 // bytes of a topic's name, as Kafka has it
	maxCount = 1 << 48
	maxSum   = 1 << 60
	maxValue = 1 << 62 // of offsets and revisions
)

const (
	version     = 1
	flagBlurred = 1
)

// append encodes, integers as uvarints:
//
//	version, reader (8), revision, flags, loose counts (3)
//	topics: count; each UUID (16), length, name
//	trails: count; each topic, partition, spans: count; each what lies between it
//	        and the one before, length, counts (3)
func (t *Tally) append(dst []byte) []byte {
	topics := map[[16]byte]int{}
	for _, trail := range t.Trails {
		topics[trail.Topic] = 0
	}
	dst = append(append(dst, version), t.Reader[:]...)
	dst = binary.AppendUvarint(dst, t.Revision)
	if t.Blurred {
		dst = append(dst, flagBlurred)
	} else {
		dst = append(dst, 0)
	}
	dst = appendCounts(dst, t.Loose)
	dst = binary.AppendUvarint(dst, uint64(len(topics)))
	for i, id := range slices.SortedFunc(maps.Keys(topics), func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) }) {
		topics[id] = i
		name := t.Names[id]
		name = name[:min(len(name), maxName)]
		dst = append(binary.AppendUvarint(append(dst, id[:]...), uint64(len(name))), name...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(t.Trails)))
	for _, trail := range t.Trails {
		dst = binary.AppendUvarint(dst, uint64(topics[trail.Topic]))     //nolint:gosec // an index
		dst = binary.AppendUvarint(dst, uint64(uint32(trail.Partition))) //nolint:gosec // not negative
		dst = binary.AppendUvarint(dst, uint64(len(trail.Spans)))
		before := int64(0)
		for _, s := range trail.Spans {
			dst = binary.AppendUvarint(dst, uint64(s.From-before)) //nolint:gosec // ascending
			dst = binary.AppendUvarint(dst, uint64(s.Next-s.From)) //nolint:gosec // not empty
			dst = appendCounts(dst, s.Counts)
			before = s.Next
		}
	}
	return dst
}

func appendCounts(dst []byte, c Counts) []byte {
	for _, n := range [...]int64{c.Stored, c.Rejected, c.Expired} {
		dst = binary.AppendUvarint(dst, uint64(max(n, 0)))
	}
	return dst
}

// Parse reads what Reading.Append wrote. Everything is bounded by the length of b.
func Parse(b []byte) (*Tally, error) {
	c := cutter{rest: b}
	t := &Tally{Names: map[[16]byte]string{}}
	c.failed = c.number(version) != version
	copy(t.Reader[:], c.bytes(len(t.Reader)))
	t.Revision = uint64(c.number(maxValue)) //nolint:gosec // bounded
	t.Blurred = c.number(flagBlurred) == flagBlurred
	t.Loose = c.counts()
	topics := make([][16]byte, c.count(17))
	for i := range topics {
		copy(topics[i][:], c.bytes(16))
		t.Names[topics[i]] = string(c.bytes(int(c.number(maxName))))
	}
	if n := c.count(3); n > 0 {
		t.Trails = make([]Trail, n)
	}
	for i := range t.Trails {
		topic := int(c.number(maxValue))
		if c.failed || topic >= len(topics) {
			return nil, errFormat
		}
		t.Trails[i].Source = Source{topics[topic], int32(c.number(1<<31 - 1))} //nolint:gosec // bounded
		t.Trails[i].Spans = c.spans()
	}
	if c.failed || len(c.rest) != 0 {
		return nil, errFormat
	}
	return t, nil
}

// cutter cuts values off the front. The first error sticks.
type cutter struct {
	rest   []byte
	failed bool
}

func (c *cutter) fail() { c.failed, c.rest = true, nil }

func (c *cutter) bytes(n int) []byte {
	if n > len(c.rest) {
		c.fail()
		return nil
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cutter) number(most int64) int64 {
	value, n := binary.Uvarint(c.rest)
	if n <= 0 || value > uint64(most) { //nolint:gosec // not negative
		c.fail()
		return 0
	}
	c.rest = c.rest[n:]
	return int64(value) //nolint:gosec // bounded
}

// count reads how many things of at least size bytes follow.
func (c *cutter) count(size int) int {
	n := c.number(maxValue)
	if n > int64(len(c.rest)/size) {
		c.fail()
		return 0
	}
	return int(n)
}

func (c *cutter) counts() Counts {
	return Counts{Stored: c.number(maxCount), Rejected: c.number(maxCount), Expired: c.number(maxCount)}
}

func (c *cutter) spans() []Span {
	spans := make([]Span, c.count(5))
	before := int64(0)
	for i := range spans {
		s := &spans[i]
		s.From = before + c.number(maxValue-before)
		length := c.number(maxValue - s.From)
		if length == 0 {
			c.fail()
			return nil
		}
		s.Next = s.From + length
		s.Counts = c.counts()
		before = s.Next
	}
	return spans
}
