package cold

import "slices"

// Head is what a reader must know of a generation before it reads a block.
type Head struct {
	Generation uint64
	// Covered says of each writer how many of its frames, from the first on, are in the blocks.
	Covered []Cover
	// Refused is what was in those frames, sealed at the edge, and is no record.
	Refused uint64
	// Runs are what was sorted at a time: of most generations one, in the order of addresses.
	Runs []Run
	// Wraps is how many blocks have Wraps. They come after those of the runs.
	Wraps int
}

// Cover is the frames 1 to Frames of a writer.
type Cover struct {
	Writer [8]byte
	Frames uint64
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

// Blocks is how many blocks there are, Wraps and all.
func (h *Head) Blocks() int {
	n := h.Wraps
	for i := range h.Runs {
		n += len(h.Runs[i].Blocks) + len(h.Runs[i].Index)
	}
	return n
}

// Append encodes h after dst. Covered must ascend by writer.
func (h *Head) Append(dst []byte) []byte {
	w := bitWriter{out: append(dst, headVersion)}
	w.number(h.Generation)
	w.number(uint64(len(h.Covered)))
	var frames []uint64
	for _, c := range h.Covered {
		for _, b := range c.Writer {
			w.put(uint64(b), 8)
		}
		frames = append(frames, c.Frames)
	}
	w.numbers(frames)
	w.number(h.Refused)
	w.number(uint64(h.Wraps))
	w.number(uint64(len(h.Runs)))
	for i := range h.Runs {
		w.run(&h.Runs[i])
	}
	return w.finish()
}

// DecodeHead reads what Head.Append wrote.
func DecodeHead(payload []byte) (*Head, error) {
	if len(payload) == 0 || payload[0] != headVersion || len(payload) > maxHead {
		return nil, ErrFormat
	}
	r := bitReader{in: payload[1:]}
	h := &Head{Generation: r.number()}
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
	h.Refused, h.Wraps = r.number(), r.count(MaxBlocks)
	next := 0
	for range r.count(maxRuns) {
		run := r.run()
		if r.failed {
			break
		}
		run.First = next
		next += len(run.Blocks) + len(run.Index)
		h.Runs = append(h.Runs, run)
	}
	if !r.finish() {
		return nil, ErrFormat
	}
	return h, nil
}

const (
	// MaxBlocks is the most blocks of records, and of the index, of a run.
	MaxBlocks = 1 << 16
	maxRuns   = 1 << 12
	maxHead   = 1 << 24
	// headVersion is the first byte of a head.
	headVersion = 2
)
