package store

import (
	"cmp"
	"context"
	"slices"

	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// output is a generation in the making.
type output struct {
	*generation
	claim Claim
	names []string // of all its blocks
	held  []Block  // not stored yet
	size  int      // of held
	bytes int      // of all
}

func newOutput(u Unit, claim Claim) (*output, error) {
	secret, err := u.key.Cold()
	if err != nil {
		return nil, err
	}
	sealed, err := secret.Generation(u.Place, claim.Generation)
	if err != nil {
		return nil, err
	}
	head := &cold.Head{Generation: claim.Generation}
	return &output{generation: &generation{u.Place, layoutOf(u.key.Public), sealed, head}, claim: claim}, nil
}

// add seals the next block.
func (o *output) add(payload []byte) {
	i := len(o.names)
	b := Block{o.ref(i).Name, o.sealed.Seal(part(i), payload)}
	o.names, o.held = append(o.names, b.Name), append(o.held, b)
	o.size += len(b.Bytes)
	o.bytes += len(b.Bytes)
}

// rest stores the blocks if they have that many bytes. Until then they wait, so that the
// order of writing does not tell the order of addresses; of shards of more than 3 million
// events Redis learns which blocks are of one such part. The claim holds either way.
func (o *output) rest(ctx context.Context, to Store, most int) error {
	if o.size < most {
		return to.Put(ctx, o.claim, nil)
	}
	return o.put(ctx, to)
}

// put stores the blocks that are held, in the order of their names.
func (o *output) put(ctx context.Context, to Store) error {
	slices.SortFunc(o.held, func(a, b Block) int { return cmp.Compare(a.Name, b.Name) })
	err := to.Put(ctx, o.claim, o.held)
	o.held, o.size = nil, 0
	return err
}

// putRecords writes the rows as a run.
func (w *compaction) putRecords() {
	run := cold.Run{Clock: cold.NewClock(&w.rows)}
	rows := w.rows.Sort()
	run.Rows = uint64(len(rows))
	var names []uint32 // of accounts
	for _, account := range w.rows.Accounts() {
		_, name := w.out.layout.account([]byte(account))
		names = append(names, name)
	}
	encode := func(dst []byte, rows []cold.Row) []byte { return w.encoder.Append(dst, &w.rows, rows, run.Clock) }
	fill(rows, &w.payload, &w.weight.rows, w.rows.Weigh, encode, func(of []cold.Row) {
		block := uint32(len(run.Blocks)) //nolint:gosec // at most cold.MaxBlocks
		w.rows.EachAccount(of, func(account uint32) { w.pair(names[account], block) })
		run.Blocks = append(run.Blocks, w.rows.Bounds(of))
		w.out.add(w.payload)
	})
	w.putRun(run)
}

// putRun adds the index of a run, which is the pairs.
func (w *compaction) putRun(run cold.Run) {
	w.pairs = w.sorter.Sort(w.pairs)
	fill(w.pairs, &w.payload, &w.weight.pairs, each[cold.Pair](4), w.encoder.AppendPairs, func(of []cold.Pair) {
		run.Index = append(run.Index, cold.BoundsOfPairs(of))
		w.out.add(w.payload)
	})
	clear(w.pairs)
	w.pairs = w.pairs[:0]
	clear(w.recent[:])
	if len(run.Index) > 0 {
		w.out.head.Runs = append(w.out.head.Runs, run)
	}
}

// flip makes the generation the current one, and tidies away what it replaces.
func (w *compaction) flip(ctx context.Context) error {
	head := w.out.head
	for writer, frames := range w.covered() {
		head.Covered = append(head.Covered, cold.Cover{Writer: writer, Frames: frames})
	}
	slices.SortFunc(head.Covered, func(a, b cold.Cover) int { return slices.Compare(a.Writer[:], b.Writer[:]) })
	sealed := w.out.sealed.Seal(0, head.Append(nil))
	if err := w.store.Flip(ctx, w.claim, sealed, w.out.names); err != nil {
		return err
	}
	w.current = Head{w.claim.Generation, sealed}
	w.done.Generation, w.done.BytesOut = w.claim.Generation, w.out.bytes+len(sealed)
	return w.store.Tidy(ctx, w.unit.Place, w.current)
}

// remove takes away the frames that are covered, also those which an earlier compactor
// has left.
func (w *compaction) remove(ctx context.Context) (err error) {
	if w.current.Bytes != nil {
		w.done.Left, err = w.store.Remove(ctx, w.unit.Place, w.current, w.covered())
	}
	return err
}

// covered is how many frames of each writer the generation has.
func (w *compaction) covered() map[seal.WriterID]uint64 {
	covered := map[seal.WriterID]uint64{}
	if w.base != nil {
		for _, c := range w.base.head.Covered {
			covered[c.Writer] = c.Frames
		}
	}
	for writer, frames := range w.upTo {
		if frames > covered[writer] {
			covered[writer] = frames
		}
	}
	return covered
}

// A stored block, with the seal and what Redis adds, is to fill 12 KiB, one of the
// sizes in which jemalloc gives memory; a byte more would take 14 KiB.
const (
	blockSize = 12<<10 - seal.ColdOverhead - 6
	blockGood = blockSize * 93 / 100
	blockAim  = blockSize * 97 / 100
)

// Weights are guesses of what things take in a block, as sums from the first on, until
// they are more than most.
type weigh[T any] func(sums []int, of []T, most int) []int

// each weighs the same for all.
func each[T any](weight int) weigh[T] {
	return func(sums []int, of []T, most int) []int {
		for i := range of {
			if sums = append(sums, (i+1)*weight); sums[i] > most {
				break
			}
		}
		return sums
	}
}

// fill cuts rows into runs whose encoding nearly fills a block, and calls put for each
// while payload holds its encoding. How many fit is guessed from their weight, as each
// guess that is wrong costs an encoding; full is what a full block weighed lately, 0 if
// nobody knows.
func fill[T any](rows []T, payload *[]byte, full *int, weights weigh[T], encode func([]byte, []T) []byte, put func([]T)) {
	var sums []int
	guess := cmp.Or(*full, blockAim)
	for len(rows) > 0 {
		sums = weights(sums[:0], rows[:min(len(rows), cold.MaxRows)], guess*5/4) // more, as blocks may turn out smaller
		n, _ := slices.BinarySearch(sums, guess)
		n, grown := max(n, 1), false
		for {
			*payload = encode((*payload)[:0], rows[:n])
			size := len(*payload)
			fits := max(n*blockAim/max(size, 1), 1)
			if size > blockSize && n > 1 {
				n = min(fits, n-1)
				continue
			}
			if more := min(fits, len(rows), cold.MaxRows); size < blockGood && more > n && !grown {
				n, grown = more, true
				continue
			}
			if n <= len(sums) && n < len(rows) { // the last block may be small, and blocks differ: one alone says too little
				guess = (guess + sums[n-1]*blockAim/max(size, 1)) / 2
			}
			break
		}
		put(rows[:n])
		rows = rows[n:]
	}
	*full = guess
}
