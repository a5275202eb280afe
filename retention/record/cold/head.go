package cold

import (
	"math"
	"net/netip"
	"slices"
	"sort"
)

// Head is what a reader must know of a generation before it reads a block.
type Head struct {
	Generation uint64
	// Rows is how many records are in the blocks.
	Rows uint64
	// Covered says of each writer how many of its frames, from the first on, are in the blocks.
	Covered []Cover
	// Blocks have records, Index has pairs. Each is in its order; neighbours may
	// share a key.
	Blocks, Index []Bounds
	// Clock is what the blocks were encoded with; nil where there are none.
	Clock *Clock
}

// Cover is the frames 1 to Frames of a writer.
type Cover struct {
	Writer [8]byte
	Frames uint64
}

// Bounds are the keys of the first and the last thing in a block: an address's
// first bytes, or a pair's key.
type Bounds struct{ First, Last uint64 }

// BoundsOfPairs are the bounds of pairs in their order.
func BoundsOfPairs(pairs []Pair) Bounds {
	return Bounds{uint64(pairs[0].Key), uint64(pairs[len(pairs)-1].Key)}
}

// Find gives the run of blocks, from and up to, in which addresses of prefix can be.
func (h *Head) Find(prefix netip.Prefix) (from, to int) {
	first := prefix.Masked().Addr()
	last := first.AsSlice()
	for bit := prefix.Bits(); bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return find(h.Blocks, Bounds{keyOf(first), keyOf(end)})
}

// FindKey gives the run of the index in which pairs of a key can be.
func (h *Head) FindKey(key uint32) (from, to int) {
	return find(h.Index, Bounds{uint64(key), uint64(key)})
}

func find(blocks []Bounds, want Bounds) (from, to int) {
	from = sort.Search(len(blocks), func(i int) bool { return blocks[i].Last >= want.First })
	to = sort.Search(len(blocks), func(i int) bool { return blocks[i].First > want.Last })
	return from, max(from, to)
}

// Frames is how many frames of a writer the blocks cover.
func (h *Head) Frames(writer [8]byte) uint64 {
	if h == nil {
		return 0
	}
	i, found := slices.BinarySearchFunc(h.Covered, writer, func(c Cover, w [8]byte) int {
		return slices.Compare(c.Writer[:], w[:])
	})
	if !found {
		return 0
	}
	return h.Covered[i].Frames
}

// Append encodes h after dst. Covered must ascend by writer.
func (h *Head) Append(dst []byte) []byte {
	w := bitWriter{out: append(dst, formatVersion)}
	w.number(h.Generation)
	w.number(h.Rows)
	w.number(uint64(len(h.Covered)))
	var frames []uint64
	for _, c := range h.Covered {
		for _, b := range c.Writer {
			w.put(uint64(b), 8)
		}
		frames = append(frames, c.Frames)
	}
	w.numbers(frames)
	w.bounds(h.Blocks)
	w.bounds(h.Index)
	w.flag(h.Clock != nil)
	if h.Clock != nil {
		h.Clock.append(&w)
	}
	return w.finish()
}

// DecodeHead reads what Head.Append wrote.
func DecodeHead(payload []byte) (*Head, error) {
	if len(payload) == 0 || payload[0] != formatVersion || len(payload) > maxHead {
		return nil, ErrFormat
	}
	r := bitReader{in: payload[1:]}
	h := &Head{Generation: r.number(), Rows: r.number()}
	h.Covered = make([]Cover, r.count(len(payload)/8))
	for i := range h.Covered {
		for j := range h.Covered[i].Writer {
			h.Covered[i].Writer[j] = byte(r.take(8))
		}
		if i > 0 && slices.Compare(h.Covered[i-1].Writer[:], h.Covered[i].Writer[:]) >= 0 {
			r.fail()
		}
	}
	for i, frames := range r.numbers(nil, len(h.Covered)) {
		h.Covered[i].Frames = frames
	}
	h.Blocks, h.Index = r.bounds(), r.bounds()
	if r.flag() {
		h.Clock = r.clock()
	}
	if !r.finish() || h.Clock == nil && len(h.Blocks) > 0 {
		return nil, ErrFormat
	}
	return h, nil
}

func (w *bitWriter) bounds(blocks []Bounds) {
	w.number(uint64(len(blocks)))
	var gaps, spans []uint64
	previous := uint64(0)
	for _, b := range blocks {
		gaps, spans = append(gaps, b.First-previous), append(spans, b.Last-b.First)
		previous = b.Last
	}
	w.numbers(gaps)
	w.numbers(spans)
}

func (r *bitReader) bounds() []Bounds {
	blocks := make([]Bounds, r.count(MaxBlocks))
	gaps, spans := r.numbers(nil, len(blocks)), r.numbers(nil, len(blocks))
	previous := uint64(0)
	for i := range blocks {
		if gaps[i] > math.MaxUint64-previous || spans[i] > math.MaxUint64-previous-gaps[i] {
			r.fail()
			break
		}
		blocks[i] = Bounds{previous + gaps[i], previous + gaps[i] + spans[i]}
		previous = blocks[i].Last
	}
	return blocks
}

const (
	// MaxBlocks is the most blocks of records, and of the index, of a generation.
	MaxBlocks = 1 << 16
	maxHead   = 1 << 24
)
