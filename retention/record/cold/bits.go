package cold

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// bitWriter appends bits to out, the lowest bit of a byte first.
type bitWriter struct {
	out     []byte
	pending uint64
	filled  uint // bits in pending, less than 64
}

// put appends the lowest width bits of v; width is at most 64.
func (w *bitWriter) put(v uint64, width uint) {
	w.out, w.pending, w.filled = pack(w.out, w.pending, w.filled, v&(1<<width-1), width)
}

func (w *bitWriter) flag(set bool) {
	if set {
		w.put(1, 1)
	} else {
		w.put(0, 1)
	}
}

func (w *bitWriter) flags(set []bool) {
	for _, s := range set {
		w.flag(s)
	}
}

// values appends (v − base) / step of all values, in width bits each: less than 1 ns of one,
// as put took 2.
func (w *bitWriter) values(values []uint64, base, step uint64, width uint) {
	if width == 0 {
		return
	}
	mask := uint64(1)<<width - 1
	out, pending, filled := slices.Grow(w.out, len(values)*int(width)/8+8), w.pending, w.filled
	for _, v := range values {
		if v -= base; step > 1 {
			v /= step
		}
		v &= mask
		out, pending, filled = pack(out, pending, filled, v, width)
	}
	w.out, w.pending, w.filled = out, pending, filled
}

// pack is put for loops that keep the writer's fields in registers: it is inlined, and v has
// no bits above its width.
func pack(out []byte, pending uint64, filled uint, v uint64, width uint) (all []byte, left uint64, bits uint) {
	pending |= v << filled
	if filled += width; filled >= 64 {
		out = binary.LittleEndian.AppendUint64(out, pending)
		filled -= 64
		pending = v >> (width - filled)
	}
	return out, pending, filled
}

// finish fills the last byte with zeros and gives all that was written.
func (w *bitWriter) finish() []byte {
	for written := uint(0); written < w.filled; written += 8 {
		w.out = append(w.out, byte(w.pending>>written))
	}
	w.pending, w.filled = 0, 0
	return w.out
}

// bitReader reads what a bitWriter wrote: numbers one after the other, columns from any
// place. The first error sticks: callers read on with zeros and look at failed once.
type bitReader struct {
	in     []byte
	at     int // the next bit
	failed bool
}

// left is how many bits follow.
func (r *bitReader) left() int { return 8*len(r.in) - r.at }

// take reads width bits, at most 64.
func (r *bitReader) take(width uint) uint64 {
	if int(width) > r.left() {
		r.fail()
		return 0
	}
	v := r.peek(r.at, width)
	r.at += int(width)
	return v
}

// peek gives the width bits, at most 64, at a place; zeros for what is behind the end.
func (r *bitReader) peek(at int, width uint) uint64 {
	i, shift := at/8, uint(at%8)
	if i+9 > len(r.in) {
		return r.peekEnd(at, width)
	}
	v := binary.LittleEndian.Uint64(r.in[i:]) >> shift
	if width+shift > 64 {
		v |= uint64(r.in[i+8]) << (64 - shift)
	}
	return v & (1<<width - 1)
}

func (r *bitReader) peekEnd(at int, width uint) (v uint64) {
	for i := range uint64(9) {
		if place := at/8 + int(i); place < len(r.in) {
			if by := int(8*i) - at%8; by < 0 {
				v |= uint64(r.in[place]) >> -by
			} else {
				v |= uint64(r.in[place]) << by
			}
		}
	}
	return v & (1<<width - 1)
}

func (r *bitReader) flag() bool { return r.take(1) == 1 }

// skip gives the place of the next n bits, and goes behind them.
func (r *bitReader) skip(n int) (at int) {
	if n < 0 || n > r.left() {
		r.fail()
		return 0
	}
	r.at += n
	return r.at - n
}

func (r *bitReader) fail() { r.failed, r.in, r.at = true, nil, 0 }

// finish reports whether all was read, but for zeros in the last byte.
func (r *bitReader) finish() bool {
	return !r.failed && r.left() < 8 && r.peek(r.at, 7) == 0
}

// bitmap is a column of flags.
type bitmap struct{ at, n int }

func (r *bitReader) bitmap(n int) bitmap { return bitmap{r.skip(n), n} }

// get gives flag i.
func (r *bitReader) get(b bitmap, i int) bool { return r.peek(b.at+i, 1) == 1 }

// rank is how many of the first n flags are set: a word at a time.
func (r *bitReader) rank(b bitmap, n int) (set int) {
	for i := 0; i < n; i += 64 {
		set += bits.OnesCount64(r.peek(b.at+i, uint(min(n-i, 64))))
	}
	return set
}
