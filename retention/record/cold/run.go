package cold

import (
	"math"
	"net/netip"
	"sort"
)

// Run is a run of blocks of records in their order, and the index of these: what was in
// a compactor's memory at a time. In the account view it is an index alone.
type Run struct {
	// Rows is how many records are in the blocks.
	Rows uint64
	// Blocks have records, Index has pairs. Each is in its order; neighbours may
	// share a key.
	Blocks, Index []Bounds
	// Clock is what the blocks were encoded with; nil where there are none.
	Clock *Clock
	// First is the number of its first block in the generation, as DecodeHead has counted them.
	First int
}

// Bounds are the keys of the first and the last thing in a block: an address's
// first bytes, or a pair's key.
type Bounds struct{ First, Last uint64 }

// BoundsOfPairs are the bounds of pairs in their order.
func BoundsOfPairs(pairs []Pair) Bounds {
	return Bounds{uint64(pairs[0].Key), uint64(pairs[len(pairs)-1].Key)}
}

// Find gives the blocks, from and up to, in which addresses of prefix can be, by their
// numbers in the generation.
func (r *Run) Find(prefix netip.Prefix) (from, to int) {
	first := prefix.Masked().Addr()
	last := first.AsSlice()
	for bit := prefix.Bits(); bit < 8*len(last); bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	from, to = find(r.Blocks, Bounds{keyOf(first), keyOf(end)})
	return r.First + from, r.First + to
}

// FindKey gives the blocks of the index in which pairs of a key can be.
func (r *Run) FindKey(key uint32) (from, to int) {
	from, to = find(r.Index, Bounds{uint64(key), uint64(key)})
	first := r.First + len(r.Blocks)
	return first + from, first + to
}

// Block is the number in the generation of the block that a pair of the index names.
func (r *Run) Block(value uint32) (block int, ok bool) {
	return r.First + int(value), int64(value) < int64(len(r.Blocks))
}

func find(blocks []Bounds, want Bounds) (from, to int) {
	from = sort.Search(len(blocks), func(i int) bool { return blocks[i].Last >= want.First })
	to = sort.Search(len(blocks), func(i int) bool { return blocks[i].First > want.Last })
	return from, max(from, to)
}

func (w *bitWriter) run(r *Run) {
	w.number(r.Rows)
	w.bounds(r.Blocks)
	w.bounds(r.Index)
	w.flag(r.Clock != nil)
	if r.Clock != nil {
		r.Clock.append(w)
	}
}

func (r *bitReader) run() Run {
	run := Run{Rows: r.number()}
	run.Blocks, run.Index = r.bounds(), r.bounds()
	if r.flag() {
		run.Clock = r.clock()
	}
	if run.Clock == nil && len(run.Blocks) > 0 {
		r.fail()
	}
	return run
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
