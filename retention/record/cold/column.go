package cold

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// column is where a column of numbers is, and how to read it: values of one width from
// any place on, Rice codes from where they were read up to, else from their beginning.
type column struct {
	at, n      int
	base, step uint64
	width      uint

	rice    bool
	typical uint64
	k       uint
	end     int // behind the codes
	next    int // the value whose code is at place
	place   int
}

// column goes behind a column of n numbers, and reads none.
func (r *bitReader) column(n int) (c column) {
	if n == 0 {
		return c
	}
	c.n = n
	if c.rice = r.flag(); c.rice {
		c.typical, c.k = r.number(), uint(r.take(6))
		size := r.count(r.left())
		c.at = r.skip(size)
		c.place, c.end = c.at, c.at+size
		if size < n {
			r.fail() // a code has a bit
		}
		return c
	}
	c.base, c.step, c.width = r.number(), r.number()+1, uint(r.take(7))
	if c.width > 64 {
		r.fail()
		return c
	}
	c.at = r.skip(n * int(c.width))
	return c
}

// read fills dst with the values from one on, of which there must be enough.
func (r *bitReader) read(dst []uint64, c *column, from int) {
	switch {
	case len(dst) == 0:
	case r.failed:
		clear(dst)
	case c.rice:
		r.readRice(dst, c, from)
	default:
		r.readWide(dst, c, from)
	}
}

// readWide reads values of one width, 1 to 2 ns each.
func (r *bitReader) readWide(dst []uint64, c *column, from int) {
	at, i := c.at+from*int(c.width), 0
	if mask := uint64(1)<<c.width - 1; c.width <= 56 { // a value lies in eight bytes
		for ; i < len(dst) && at/8+8 <= len(r.in); i++ {
			dst[i] = c.base + c.step*(binary.LittleEndian.Uint64(r.in[at/8:])>>(at%8)&mask)
			at += int(c.width)
		}
	}
	for ; i < len(dst); i++ {
		dst[i] = c.base + c.step*r.peek(at, c.width)
		at += int(c.width)
	}
}

// readRice reads Rice codes, about 3 ns each, also those on the way to from.
func (r *bitReader) readRice(dst []uint64, c *column, from int) {
	if from < c.next {
		c.next, c.place = 0, c.at
	}
	skip, at := from-c.next, c.place
	for i := -skip; i < len(dst) && at < c.end; i++ {
		word := r.peek(at, 57)
		var v uint64
		if ones := uint(bits.TrailingZeros64(^word)); ones < longest {
			at += int(ones + 1 + c.k)
			if low := word >> (ones + 1); ones+1+c.k <= 57 {
				v = uint64(ones)<<c.k | low&(1<<c.k-1)
			} else {
				v = uint64(ones)<<c.k | r.peek(at-int(c.k), c.k)
			}
		} else {
			n := uint(r.peek(at+longest, 7))
			if n > 64 {
				break
			}
			v = r.peek(at+longest+7, n)
			at += longest + 7 + int(n)
		}
		c.next, c.place = from+i+1, at
		if i >= 0 {
			dst[i] = c.typical + uint64(unzigzag(v))
		}
	}
	if c.next != from+len(dst) || at > c.end || c.next == c.n && at != c.end {
		clear(dst)
		r.fail()
	}
}

// value reads one.
func (r *bitReader) value(c *column, i int) uint64 {
	var one [1]uint64
	r.read(one[:], c, i)
	return one[0]
}

// numbers reads a column of n values into dst.
func (r *bitReader) numbers(dst []uint64, n int) []uint64 {
	dst = slices.Grow(dst[:0], n)[:n]
	c := r.column(n)
	r.read(dst, &c, 0)
	return dst
}

// few is where a column of few distinct values is.
type few struct {
	distinct []uint64
	which    column
}

func (r *bitReader) few(n int, scratch []uint64) (f few) {
	if n > 0 {
		f.distinct = r.numbers(scratch, r.count(n))
		f.which = r.column(n)
	}
	return f
}

// readFew fills dst with the first values.
func (r *bitReader) readFew(dst []uint64, f *few) {
	r.read(dst, &f.which, 0)
	for i, which := range dst {
		if which >= uint64(len(f.distinct)) {
			clear(dst)
			r.fail()
			return
		}
		dst[i] = f.distinct[which]
	}
}
