package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"mayfly/retention/record"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// compaction is one unit under way.
type compaction struct {
	*Compactor
	unit    Unit
	claim   Claim
	frames  []seal.Frame             // of the chunk
	base    *generation              // nil: the unit has none yet
	current Head                     // of base, or of what has been made of it
	covered map[seal.WriterID]uint64 // by the generation to be made
	done    Compacted
}

// wipe erases what was read: no record is to linger in a compactor.
func (w *compaction) wipe() {
	w.rows.Wipe()
	clear(w.records[:cap(w.records)])
	clear(w.payload[:cap(w.payload)])
	clear(w.pairs[:cap(w.pairs)])
	w.records, w.pairs = w.records[:0], w.pairs[:0]
}

// merge reads the unit's frames and its current generation into records or pairs.
func (w *compaction) merge(ctx context.Context) error {
	chunks, err := w.store.Chunks(ctx, []seal.Place{w.unit.Place})
	if err != nil {
		return err
	}
	w.frames, w.current = chunks[0].Frames, chunks[0].Head
	if w.base, err = openGeneration(w.unit.key, w.unit.Place, w.current); err != nil {
		return fmt.Errorf("%w: its head: %w", ErrDamaged, err)
	}
	if w.base != nil {
		for _, c := range w.base.head.Covered {
			w.covered[c.Writer] = c.Frames
		}
	}
	if err := w.mergeFrames(ctx); err != nil || w.done.BytesIn == 0 || w.base == nil {
		return err
	}
	return w.mergeBase(ctx)
}

// mergeFrames takes each writer's frames that follow what is covered, as far as
// they are there, acknowledged and open.
func (w *compaction) mergeFrames(ctx context.Context) error {
	if w.unit.Place.View == seal.ByAddress {
		w.rows.Grow(int(w.unit.records + w.unit.records/8)) //nolint:gosec // at most MaxUnit
	}
	following := map[seal.WriterID][]*seal.Frame{}
	for i := range w.frames {
		f := &w.frames[i]
		if f.Sequence > w.covered[f.Writer] && f.Sequence <= w.unit.written[f.Writer] {
			following[f.Writer] = append(following[f.Writer], f)
		}
	}
	search := &search{Reader: w.Reader}
	for writer, frames := range following {
		slices.SortStableFunc(frames, func(a, b *seal.Frame) int { return cmp.Compare(a.Sequence, b.Sequence) })
		for _, f := range frames {
			next := w.covered[writer] + 1
			if f.Sequence < next {
				continue // a repeat
			}
			payload, err := search.openFrame(ctx, w.unit.key, f)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if f.Sequence > next || err != nil || w.take(payload) != nil {
				break // what is behind it stays hot
			}
			w.covered[writer] = next
			w.done.BytesIn += len(f.Bytes())
		}
	}
	return nil
}

// take keeps what the unit needs of a frame's payload. One that was sealed at the edge
// has another format.
func (w *compaction) take(payload []byte) error {
	defer clear(payload)
	if w.unit.Place.View == seal.ByAccount {
		return record.EachMention(payload, func(m record.Mention) {
			w.pair(m.Subject, m.Shard)
			w.done.Rows++
		})
	}
	var err error
	if w.records, err = record.Decode(w.records[:0], payload); err != nil {
		return err
	}
	if err := w.rows.Add(w.records); err != nil {
		return err
	}
	w.done.Rows += len(w.records)
	return nil
}

// pair notes that the account of a name is in a shard or block. Repeats are many, and
// go whenever they have filled the memory.
func (w *compaction) pair(name, value uint32) {
	if len(w.pairs) == cap(w.pairs) {
		w.pairs = w.sorter.Sort(w.pairs)
		w.pairs = slices.Grow(w.pairs, max(len(w.pairs), 1<<12))
	}
	w.pairs = append(w.pairs, cold.Pair{Key: name, Value: value})
}

// blocksAtOnce is how many blocks are fetched in one pipeline, about 1.5 MB.
const blocksAtOnce = 128

// mergeBase adds what the current generation has.
func (w *compaction) mergeBase(ctx context.Context) error {
	blocks := len(w.base.head.Blocks)
	if w.unit.Place.View == seal.ByAccount {
		blocks = len(w.base.head.Index) // that of the address view is made anew
	}
	for from := 0; from < blocks; from += blocksAtOnce {
		to := min(from+blocksAtOnce, blocks)
		sealed, err := w.base.fetch(ctx, w.store, from, to)
		if err != nil {
			return err
		}
		for i := range sealed {
			if err := w.takeBlock(from+i, sealed[i]); err != nil {
				return fmt.Errorf("%w: block %d: %w", ErrDamaged, from+i, err)
			}
		}
	}
	return nil
}

func (w *compaction) takeBlock(i int, sealed []byte) error {
	payload, err := w.base.sealed.Open(part(i), sealed)
	if err != nil {
		return err
	}
	defer clear(payload)
	if w.unit.Place.View == seal.ByAddress {
		w.records, err = w.decoder.Append(w.records[:0], payload, w.base.head.Clock, cold.Subject{})
		if err != nil {
			return err
		}
		return w.rows.Add(w.records)
	}
	return cold.EachPair(payload, func(p cold.Pair) { w.pair(p.Key, p.Value) })
}

// write makes the generation: blocks first, then the head that names them.
func (w *compaction) write(ctx context.Context) error {
	secret, err := w.unit.key.Cold()
	if err != nil {
		return err
	}
	sealed, err := secret.Generation(w.unit.Place, w.claim.Generation)
	if err != nil {
		return err
	}
	out := &generation{place: w.unit.Place, layout: layoutOf(w.unit.key.Public), sealed: sealed}
	out.head = &cold.Head{Generation: w.claim.Generation}
	for writer, frames := range w.covered {
		out.head.Covered = append(out.head.Covered, cold.Cover{Writer: writer, Frames: frames})
	}
	slices.SortFunc(out.head.Covered, func(a, b cold.Cover) int { return slices.Compare(a.Writer[:], b.Writer[:]) })
	blocks := w.encode(out)
	head := out.sealed.Seal(0, out.head.Append(nil))
	names := make([]string, len(blocks))
	for i, b := range blocks {
		names[i] = b.Name
		w.done.BytesOut += len(b.Bytes)
	}
	w.done.BytesOut += len(head)
	// In the order of names: the order of writing must not tell the order of addresses.
	slices.SortFunc(blocks, func(a, b Block) int { return cmp.Compare(a.Name, b.Name) })
	if err := w.store.Put(ctx, w.claim, blocks); err != nil {
		return err
	}
	if err := w.store.Flip(ctx, w.claim, head, names); err != nil {
		return err
	}
	w.done.Generation, w.current = w.claim.Generation, Head{w.claim.Generation, head}
	return w.store.Tidy(ctx, w.unit.Place, w.current)
}

// encode cuts records and pairs into sealed blocks and enters their bounds in the head.
func (w *compaction) encode(out *generation) []Block {
	var blocks []Block
	put := func(payload []byte) {
		i := len(blocks)
		blocks = append(blocks, Block{out.ref(i).Name, out.sealed.Seal(part(i), payload)})
	}
	if w.unit.Place.View == seal.ByAddress {
		w.encodeRecords(out.head, func(rows []uint32) {
			block := uint32(len(blocks)) //nolint:gosec // at most cold.MaxBlocks
			w.rows.Accounts(rows, func(account string) {
				_, name := out.layout.account([]byte(account))
				w.pair(name, block)
			})
			put(w.payload)
		})
	}
	w.pairs = w.sorter.Sort(w.pairs)
	fill(w.pairs, &w.payload, cold.AppendPairs, func(of []cold.Pair) {
		out.head.Index = append(out.head.Index, cold.BoundsOfPairs(of))
		put(w.payload)
	})
	return blocks
}

func (w *compaction) encodeRecords(head *cold.Head, put func([]uint32)) {
	clock := cold.NewClock(&w.rows)
	rows := w.rows.Sort()
	head.Clock, head.Rows = clock, uint64(len(rows))
	encode := func(dst []byte, rows []uint32) []byte { return w.encoder.Append(dst, &w.rows, rows, clock) }
	fill(rows, &w.payload, encode, func(of []uint32) {
		head.Blocks = append(head.Blocks, w.rows.Bounds(of))
		put(of)
	})
}

// A stored block, with the seal and what Redis adds, is to fill 12 KiB, one of the
// sizes in which jemalloc gives memory; a byte more would take 14 KiB.
const (
	blockSize = 12<<10 - seal.ColdOverhead - 6
	blockGood = blockSize * 96 / 100
	firstRows = 1000
)

// fill cuts rows into runs whose encoding nearly fills a block, and calls put for each
// while payload holds its encoding.
func fill[T any](rows []T, payload *[]byte, encode func([]byte, []T) []byte, put func([]T)) {
	guess := firstRows
	for len(rows) > 0 {
		n, grown := min(guess, len(rows), cold.MaxRows), false
		for {
			*payload = encode((*payload)[:0], rows[:n])
			size := len(*payload)
			fits := max(n*(blockSize-blockSize/64)/max(size, 1), 1)
			if size > blockSize && n > 1 {
				n = min(fits, n-1)
				continue
			}
			if more := min(fits, len(rows), cold.MaxRows); size < blockGood && more > n && !grown {
				n, grown = more, true
				continue
			}
			guess = (3*guess + fits) / 4 // blocks differ: the last one alone says too little
			break
		}
		put(rows[:n])
		rows = rows[n:]
	}
}

// remove takes away the frames that the generation covers, repeats too.
func (w *compaction) remove(ctx context.Context) error {
	var covered []seal.Frame
	for _, f := range w.frames {
		if f.Sequence > 0 && f.Sequence <= w.covered[f.Writer] {
			covered = append(covered, f)
		}
	}
	w.done.Left = len(w.frames) - len(covered)
	return w.store.Remove(ctx, w.unit.Place, w.current, covered)
}
