package cold

import "encoding/binary"

// bitWriter appends bits to out, the lowest bit of a byte first.
type bitWriter struct {
	out     []byte
	pending uint64
	filled  uint // bits in pending, less than 64
}

// put appends the lowest width bits of v; width is at most 64.
func (w *bitWriter) put(v uint64, width uint) {
	v &= 1<<width - 1
	w.pending |= v << w.filled
	if w.filled += width; w.filled >= 64 {
		w.out = binary.LittleEndian.AppendUint64(w.out, w.pending)
		w.filled -= 64
		w.pending = v >> (width - w.filled)
	}
}

func (w *bitWriter) flag(set bool) {
	if set {
		w.put(1, 1)
	} else {
		w.put(0, 1)
	}
}

// finish fills the last byte with zeros and gives all that was written.
func (w *bitWriter) finish() []byte {
	for written := uint(0); written < w.filled; written += 8 {
		w.out = append(w.out, byte(w.pending>>written))
	}
	w.pending, w.filled = 0, 0
	return w.out
}

// bitReader reads what a bitWriter wrote. The first error sticks: callers read on
// with zeros and look at failed once.
type bitReader struct {
	rest    []byte
	pending uint64
	filled  uint
	failed  bool
}

// fill brings at least 32 bits into pending, as long as there are any.
func (r *bitReader) fill() {
	if len(r.rest) >= 8 {
		r.pending |= binary.LittleEndian.Uint64(r.rest) << r.filled
		taken := (63 - r.filled) / 8
		r.rest = r.rest[taken:]
		r.filled += 8 * taken
		return
	}
	for r.filled <= 56 && len(r.rest) > 0 {
		r.pending |= uint64(r.rest[0]) << r.filled
		r.rest = r.rest[1:]
		r.filled += 8
	}
}

// take reads width bits, at most 64.
func (r *bitReader) take(width uint) uint64 {
	if width > 32 {
		low := r.take(32)
		return low | r.take(width-32)<<32
	}
	if r.filled < width {
		r.fill()
		if r.filled < width {
			r.fail()
			return 0
		}
	}
	v := r.pending & (1<<width - 1)
	r.pending >>= width
	r.filled -= width
	return v
}

func (r *bitReader) flag() bool { return r.take(1) == 1 }

func (r *bitReader) fail() { r.failed, r.rest, r.pending, r.filled = true, nil, 0, 0 }

// finish reports whether all was read, but for zeros in the last byte.
func (r *bitReader) finish() bool {
	return !r.failed && len(r.rest) == 0 && r.filled < 8 && r.pending == 0
}
