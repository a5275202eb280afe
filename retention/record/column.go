package record

import (
	"encoding/binary"
	"errors"
)

// ErrFormat says that a payload is not what Encoder.Append writes.
var ErrFormat = errors.New("record: malformed columns")

// A column of strings is written in the first of these forms that fits it.
const (
	stringsSame    = 0 // one value for all rows
	stringsIndexed = 1 // a dictionary of at most 255 values, then a byte per row
	stringsPlain   = 2 // a length and bytes per row
	stringsPacked  = 3 // values of one length and few symbols, a few bits per symbol; tried before plain
)

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// columnReader cuts values off the front of a payload. The first error sticks:
// callers read on with zero values and look at failed once.
type columnReader struct {
	rest   string
	failed bool
}

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

func (r *columnReader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *columnReader) string() string { return r.bytes(r.uvarint()) }

// readStrings calls set with each row's value of a column of strings.
func (r *columnReader) readStrings(rows int, set func(row int, value string)) {
	switch r.byte() {
	case stringsSame:
		value := r.string()
		for i := range rows {
			set(i, value)
		}
	case stringsIndexed:
		dictionary := make([]string, r.byte())
		for i := range dictionary {
			dictionary[i] = r.string()
		}
		for i, index := range []byte(r.bytes(uint64(rows))) {
			if int(index) >= len(dictionary) {
				r.fail()
				return
			}
			set(i, dictionary[index])
		}
	case stringsPlain:
		for i := 0; i < rows && !r.failed; i++ {
			set(i, r.string())
		}
	case stringsPacked:
		r.readPacked(rows, set)
	default:
		r.fail()
	}
}
