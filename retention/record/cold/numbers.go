package cold

import (
	"math/bits"
	"slices"
)

// A number on its own is its length in bits, then its bits.
func (w *bitWriter) number(v uint64) {
	n := uint(bits.Len64(v))
	w.put(uint64(n), 7)
	w.put(v, n)
}

func (r *bitReader) number() uint64 {
	n := uint(r.take(7))
	if n > 64 {
		r.fail()
		return 0
	}
	return r.take(n)
}

// count reads a number of things of which there are at most most.
func (r *bitReader) count(most int) int {
	n := r.number()
	if n > uint64(most) {
		r.fail()
		return 0
	}
	return int(n)
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

// longest is the longest run of ones in a Rice code; a value that is further out
// is written as a number of its own.
const longest = 20

// numbers writes a column: 1 bit for the form, then the column in the form that is
// shorter, widths (value − base) / step, or the Rice code of value − typical behind the
// length of all codes.
func (w *bitWriter) numbers(values []uint64) {
	if len(values) == 0 {
		return
	}
	base, top := values[0], values[0]
	for _, v := range values {
		base, top = min(base, v), max(top, v)
	}
	if base == top {
		w.wide(values, base, 1, 0)
		return
	}
	step := stepOf(values, base)
	width := uint(bits.Len64((top - base) / step))
	typical := typicalOf(values)
	k, size := riceOf(values, typical)
	if size >= len(values)*int(width) {
		w.wide(values, base, step, width)
		return
	}
	w.put(1, 1)
	w.number(typical)
	w.put(uint64(k), 6)
	w.number(riceSize(values, typical, k))
	w.codes(values, typical, k)
}

func (w *bitWriter) wide(values []uint64, base, step uint64, width uint) {
	w.put(0, 1)
	w.number(base)
	w.number(step - 1)
	w.put(uint64(width), 7)
	w.values(values, base, step, width)
}

// stepOf is the greatest common divisor of all distances from base: ports of a
// carrier's blocks are 1,008 apart, times of a server that logs seconds 1,000.
func stepOf(values []uint64, base uint64) uint64 {
	step := uint64(0)
	for _, v := range values {
		for d := v - base; d != 0; {
			step, d = d, step%d
		}
		if step == 1 {
			return 1
		}
	}
	return max(step, 1)
}

// typicalOf is the median of a sample.
func typicalOf(values []uint64) uint64 {
	var sample [33]uint64
	if len(values) <= len(sample) {
		n := copy(sample[:], values)
		slices.Sort(sample[:n])
		return sample[n/2]
	}
	for i := range sample {
		sample[i] = values[i*(len(values)-1)/(len(sample)-1)]
	}
	slices.Sort(sample[:])
	return sample[len(sample)/2]
}

// riceOf is the parameter that suits the distances from typical, and about how many
// bits they take with it.
func riceOf(values []uint64, typical uint64) (k uint, size int) {
	var lengths [65]int
	for _, v := range values {
		lengths[bits.Len64(zigzag(int64(v-typical)))]++
	}
	var used [65]int // lengths that occur, ascending
	n := 0
	for length, count := range lengths {
		if count > 0 {
			used[n] = length
			n++
		}
	}
	least := 64 // of what is not 0: smaller parameters are no better
	for _, length := range used[:n] {
		if length > 0 {
			least = length
			break
		}
	}
	size = -1
	for candidate := uint(max(least-3, 0)); candidate < 64; candidate++ {
		cost := 0
		for _, length := range used[:n] {
			ones := uint64(3) << length >> 2 >> candidate // the middle of what has this length
			if length > 62 || ones >= longest {
				cost += lengths[length] * (longest + 7 + length)
			} else {
				cost += lengths[length] * (int(ones) + 1 + int(candidate))
			}
		}
		if size >= 0 && cost > 2*size {
			break // it only grows from here
		}
		if size < 0 || cost < size {
			k, size = candidate, cost
		}
	}
	return k, size
}

// riceSize is how many bits the codes take, so that a reader can leave them out.
func riceSize(values []uint64, typical uint64, k uint) (size uint64) {
	for _, v := range values {
		v = zigzag(int64(v - typical))
		if ones := v >> k; ones < longest {
			size += ones + 1 + uint64(k)
		} else {
			size += longest + 7 + uint64(bits.Len64(v))
		}
	}
	return size
}

// codes writes Rice codes, 1 to 2 ns each.
func (w *bitWriter) codes(values []uint64, typical uint64, k uint) {
	out, pending, filled := w.out, w.pending, w.filled
	for _, v := range values {
		v = zigzag(int64(v - typical))
		ones := uint(v >> k)
		width := ones + 1 + k
		if ones >= longest || width > 64 {
			w.out, w.pending, w.filled = out, pending, filled
			w.rice(v, k)
			out, pending, filled = w.out, w.pending, w.filled
			continue
		}
		v = 1<<ones - 1 | (v&(1<<k-1))<<(ones+1)
		out, pending, filled = pack(out, pending, filled, v, width)
	}
	w.out, w.pending, w.filled = out, pending, filled
}

// rice writes a code that is far out, or wide.
func (w *bitWriter) rice(v uint64, k uint) {
	ones := v >> k
	if ones >= longest {
		w.put(1<<longest-1, longest)
		w.number(v)
		return
	}
	w.put(1<<ones-1, uint(ones)+1)
	w.put(v, k)
}
