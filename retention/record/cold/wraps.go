package cold

import (
	"math"
	"slices"
)

// Wrap is what a generation keeps of one wrap of batches that were sealed at the edge:
// the wrap itself, as later frames only name it, and which of its segments are in the
// blocks, as these may come once more.
type Wrap struct {
	Writer       [8]byte
	Encapsulated []byte
	Segments     Spans
}

// Spans are a set of numbers, as runs that ascend and don't touch.
type Spans []Span

// Span is the numbers First to Last.
type Span struct{ First, Last uint64 }

// at is the first run that ends at n or after.
func (s Spans) at(n uint64) int {
	if len(s) > 0 && s[len(s)-1].Last < n { // numbers mostly ascend
		return len(s)
	}
	i, _ := slices.BinarySearchFunc(s, n, func(of Span, n uint64) int {
		if of.Last < n {
			return -1
		}
		return 1
	})
	return i
}

// Has reports whether n is in the set.
func (s Spans) Has(n uint64) bool {
	i := s.at(n)
	return i < len(s) && s[i].First <= n
}

// Add puts n, at least 1, into the set.
func (s *Spans) Add(n uint64) {
	i := s.at(n)
	if i < len(*s) && (*s)[i].First <= n {
		return
	}
	after := i < len(*s) && (*s)[i].First == n+1
	switch before := i > 0 && (*s)[i-1].Last == n-1; {
	case before && after:
		(*s)[i-1].Last = (*s)[i].Last
		*s = slices.Delete(*s, i, i+1)
	case before:
		(*s)[i-1].Last = n
	case after:
		(*s)[i].First = n
	default:
		*s = slices.Insert(*s, i, Span{n, n})
	}
}

// AppendWraps encodes 1 to MaxRows wraps after dst: their number; of each the writer,
// the length and the bytes of the encapsulated key, and of the runs of its segments the
// distances: from the end of the one before to the beginning, and from there to the end.
func AppendWraps(dst []byte, wraps []Wrap) []byte {
	w := bitWriter{out: append(dst, formatVersion)}
	w.number(uint64(len(wraps)))
	for i := range wraps {
		of := &wraps[i]
		for _, b := range of.Writer {
			w.put(uint64(b), 8)
		}
		w.number(uint64(len(of.Encapsulated)))
		for _, b := range of.Encapsulated {
			w.put(uint64(b), 8)
		}
		w.number(uint64(len(of.Segments)))
		previous := uint64(0)
		for _, span := range of.Segments {
			w.number(span.First - previous)
			w.number(span.Last - span.First)
			previous = span.Last
		}
	}
	return w.finish()
}

// EachWrap calls visit with the wraps of a payload of AppendWraps.
func EachWrap(payload []byte, visit func(Wrap)) error {
	if len(payload) == 0 || payload[0] != formatVersion {
		return ErrFormat
	}
	r := bitReader{in: payload[1:]}
	for range r.count(MaxRows) {
		var of Wrap
		for i := range of.Writer {
			of.Writer[i] = byte(r.take(8))
		}
		of.Encapsulated = make([]byte, r.count(len(payload)))
		for i := range of.Encapsulated {
			of.Encapsulated[i] = byte(r.take(8))
		}
		previous := uint64(0)
		for range r.count(8 * len(payload)) {
			gap, more := r.number(), r.number()
			if r.failed || gap == 0 || gap == 1 && previous > 0 || gap > math.MaxUint64-previous || more > math.MaxUint64-previous-gap {
				r.fail()
				break
			}
			of.Segments = append(of.Segments, Span{previous + gap, previous + gap + more})
			previous += gap + more
		}
		if r.failed {
			return ErrFormat
		}
		visit(of)
	}
	if !r.finish() {
		return ErrFormat
	}
	return nil
}
