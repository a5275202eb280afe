package record

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// A column of integers is a patched frame of reference (Zukowski et al., ICDE
// 2006): the least value is taken out, the rest is packed into as many bits as
// most of them need, and the few that need more keep their upper bits in a list.
//
//	least, uvarint; width, a byte; exceptions, uvarint
//	of each value − least the lowest width bits, as one string of bits
//	per exception: rows since the one before, uvarint; upper bits, uvarint
//
// A value that all rows share costs no bit a row. The lowest bit of a byte comes first.

// exceptionBits is about what an exception costs besides its upper bits.
const exceptionBits = 12

func appendInts(dst []byte, values []uint64) []byte {
	if len(values) == 0 {
		return dst
	}
	least, most := values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}
	dst = binary.AppendUvarint(dst, least)
	width, exceptions := packedWidth(values, least, most)
	dst = append(dst, byte(width))
	dst = binary.AppendUvarint(dst, uint64(exceptions))
	if width == 0 && exceptions == 0 {
		return dst
	}
	p := bitPacker{dst: dst}
	for _, v := range values {
		p.add((v-least)&(1<<width-1), width)
	}
	dst = p.end()
	if exceptions == 0 {
		return dst
	}
	previous := 0
	for i, v := range values {
		if upper := (v - least) >> width; upper != 0 {
			dst = binary.AppendUvarint(dst, uint64(i-previous))
			dst = binary.AppendUvarint(dst, upper)
			previous = i
		}
	}
	return dst
}

// appendSame is appendInts of values that are all one.
func appendSame(dst []byte, value uint64) []byte {
	return append(binary.AppendUvarint(dst, value), 0, 0)
}

// packedWidth is the cheapest width, and how many values are wider.
func packedWidth(values []uint64, least, most uint64) (width, exceptions int) {
	widest := bits.Len64(most - least)
	if widest <= 1 {
		return widest, 0
	}
	var wide [65]int // values by their width
	for _, v := range values {
		wide[bits.Len64(v-least)]++
	}
	width = widest
	cheapest := len(values) * widest
	above, upper := 0, 0 // values wider than w, and the bits that they have more
	for w := widest - 1; w >= 0; w-- {
		above += wide[w+1]
		upper += above
		if cost := len(values)*w + above*exceptionBits + upper; cost < cheapest {
			cheapest, width, exceptions = cost, w, above
		}
	}
	return width, exceptions
}

// bitPacker appends values of up to 64 bits.
type bitPacker struct {
	dst     []byte
	pending uint64
	filled  int
}

// add appends value, which has no bit beyond width.
func (p *bitPacker) add(value uint64, width int) {
	p.pending |= value << p.filled
	if p.filled += width; p.filled >= 64 {
		p.dst = binary.LittleEndian.AppendUint64(p.dst, p.pending)
		p.filled -= 64
		p.pending = value >> (width - p.filled)
	}
}

// end appends what is pending, filled up with zeros to whole bytes.
func (p *bitPacker) end() []byte {
	for ; p.filled > 0; p.filled -= 8 {
		p.dst = append(p.dst, byte(p.pending))
		p.pending >>= 8
	}
	return p.dst
}

func bitsSize(n int) int { return (n + 7) / 8 }

// ints reads a column of n integers. They are valid until the next call.
func (r *columnReader) ints(n int) []uint64 {
	if n == 0 {
		return nil
	}
	least, width, exceptions := r.uvarint(), int(r.byte()), r.uvarint()
	if r.failed || width > 64 || exceptions > uint64(n) {
		r.fail()
		return make([]uint64, n)
	}
	packed := r.bytes(uint64(bitsSize(n * width)))
	values := resize(&r.numbers, n)
	if r.failed || !unpackBits(values, packed, width) {
		r.fail()
		clear(values)
		return values
	}
	for i, next := 0, uint64(0); uint64(i) < exceptions; i++ {
		gap, upper := r.uvarint(), r.uvarint()
		if next += gap; r.failed || next >= uint64(n) || gap > uint64(n) || gap == 0 && i > 0 || upper == 0 || upper<<width>>width != upper {
			r.fail()
			break
		}
		values[next] |= upper << width
	}
	for i := range values {
		values[i] += least
	}
	return values
}

// unpackBits fills values; false for bits that are left over.
func unpackBits(values []uint64, packed string, width int) bool {
	if width == 0 {
		clear(values)
		return true
	}
	mask := uint64(1)<<width - 1
	inner := 0 // values that lie in eight bytes which are all there
	if width <= 56 && len(packed) >= 8 {
		inner = min((len(packed)-8)*8/width+1, len(values))
	}
	whole := unsafe.Slice(unsafe.StringData(packed), len(packed)) // is only read
	for i, at := 0, 0; i < inner; i, at = i+1, at+width {
		values[i] = binary.LittleEndian.Uint64(whole[at/8:]) >> (at % 8) & mask
	}
	for i := inner; i < len(values); i++ {
		at, shift := i*width/8, i*width%8
		v := word(packed, at) >> shift
		if shift+width > 64 {
			v |= uint64(packed[at+8]) << (64 - shift)
		}
		values[i] = v & mask
	}
	if used := len(values) * width % 8; used != 0 {
		return packed[len(packed)-1]>>used == 0
	}
	return true
}

// word is the eight bytes of s from at on, the first one lowest; zeros behind its end.
func word(s string, at int) uint64 {
	if at+8 <= len(s) {
		s = s[at : at+8]
		return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	}
	var v uint64
	for i := 0; at+i < len(s); i++ {
		v |= uint64(s[at+i]) << (8 * i)
	}
	return v
}

// resize gives *scratch n elements, whatever they are.
func resize[T any](scratch *[]T, n int) []T {
	if cap(*scratch) < n {
		*scratch = make([]T, n+n/4)
	}
	*scratch = (*scratch)[:cap(*scratch)]
	return (*scratch)[:n]
}
