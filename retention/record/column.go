package record

import (
	"encoding/binary"
	"errors"
)

// ErrFormat says that a payload is not what Encoder.Append writes.
var ErrFormat = errors.New("record: malformed columns")

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// columnReader cuts values off the front of a payload. The first error sticks:
// callers read on with zero values and look at failed once.
type columnReader struct {
	rest    string
	failed  bool
	numbers []uint64 // scratch of ints
	six     []bool   // of addressColumn
	heads4  []uint64
	flags   []bool   // of readIDs and readPacked
	lengths []uint8  // of readPacked
	values  []uint64 // of few
	ones    []uint32 // of readPorts
	blocks  []uint32
	places  []byte // of a template
	made    []byte // what texts are slices of that were packed
	wanted  []bool // rows whose texts and addresses are to be made; nil: all
}

// wipe erases what is left of rows.
func (r *columnReader) wipe() {
	clear(r.numbers[:cap(r.numbers)])
	clear(r.heads4[:cap(r.heads4)])
	clear(r.values[:cap(r.values)])
	clear(r.made[:cap(r.made)])
}

func (r *columnReader) wants(row int) bool { return r.wanted == nil || r.wanted[row] }

func (r *columnReader) fail() {
	r.failed = true
	r.rest = ""
}

func (r *columnReader) bytes(n uint64) string {
	if n > uint64(len(r.rest)) {
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *columnReader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// uvarint reads the shortest form only, so that a payload has one spelling.
func (r *columnReader) uvarint() uint64 {
	var value uint64
	for i := 0; i < binary.MaxVarintLen64; i++ {
		b := r.byte()
		if r.failed {
			return 0
		}
		if i == 9 && b > 1 || i > 0 && b == 0 {
			break
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return value
		}
	}
	r.fail()
	return 0
}

func (r *columnReader) string() string { return r.bytes(r.uvarint()) }

// zigzag maps small negative numbers to small ones.
func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
