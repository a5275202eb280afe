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
	base, top := slices.Min(values), slices.Max(values)
	step := stepOf(values, base)
	width := uint(bits.Len64((top - base) / step))
	typical := typicalOf(values)
	k, size := riceOf(values, typical)
	if size < len(values)*int(width) {
		w.put(1, 1)
		w.number(typical)
		w.put(uint64(k), 6)
		w.number(riceSize(values, typical, k))
		for _, v := range values {
			w.rice(zigzag(int64(v-typical)), k)
		}
		return
	}
	w.put(0, 1)
	w.number(base)
	w.number(step - 1)
	w.put(uint64(width), 7)
	if step == 1 {
		for _, v := range values {
			w.put(v-base, width)
		}
		return
	}
	for _, v := range values {
		w.put((v-base)/step, width)
	}
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
	size = -1
	least := 64 // of what is not 0: smaller parameters are no better
	for length := 64; length > 0; length-- {
		if lengths[length] > 0 {
			least = length
		}
	}
	for candidate := uint(max(least-3, 0)); candidate < 64; candidate++ {
		cost := 0
		for length, n := range lengths {
			if n == 0 {
				continue
			}
			ones := uint64(3) << length >> 2 >> candidate // the middle of what has this length
			if length > 62 || ones >= longest {
				cost += n * (longest + 7 + length)
			} else {
				cost += n * (int(ones) + 1 + int(candidate))
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

func (w *bitWriter) rice(v uint64, k uint) {
	ones := v >> k
	if ones >= longest {
		w.put(1<<longest-1, longest)
		w.number(v)
		return
	}
	if width := uint(ones) + 1 + k; width <= 64 {
		w.put(1<<ones-1|(v&(1<<k-1))<<(ones+1), width)
		return
	}
	w.put(1<<ones-1, uint(ones)+1)
	w.put(v, k)
}
