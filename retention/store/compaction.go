package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mayfly/retention/keyring"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// compaction is one unit under way.
type compaction struct {
	*Compactor
	unit    Unit
	claim   Claim
	base    *generation              // nil: the unit has none yet
	current Head                     // of base, or of what has been made of it
	known   wraps                    // of base
	upTo    map[seal.WriterID]uint64 // how many frames of each writer the generation is to cover
	done    Compacted

	out     *output
	wraps   wraps // of the generation that is made
	refused uint64
}

// errShort says that fewer frames can be covered than were to be.
var errShort = errors.New("frames are missing, or do not open")

// wipe erases what was read: no record is to linger in a compactor.
func (w *compaction) wipe() {
	w.rows.Wipe()
	w.columns.Wipe()
	clear(w.records[:cap(w.records)])
	clear(w.payload[:cap(w.payload)])
	clear(w.opened[:cap(w.opened)])
	clear(w.pairs[:cap(w.pairs)])
	clear(w.recent[:])
	w.records, w.pairs = w.records[:0], w.pairs[:0]
}

// begin reads the current generation's head, and what it knows of wraps.
func (w *compaction) begin(ctx context.Context) error {
	chunk, err := w.store.Frames(ctx, w.unit.Place, 0, 1)
	if err != nil {
		return err
	}
	w.current = chunk.Head
	if w.base, err = openGeneration(w.unit.key, w.unit.Place, w.current); err != nil {
		return fmt.Errorf("%w: its head: %w", ErrDamaged, err)
	}
	w.known, err = w.base.wraps(ctx, w.store)
	return err
}

// generate stores the blocks of a generation that covers the frames up to upTo. Where
// some of these are not there it is errShort, and upTo says less.
func (w *compaction) generate(ctx context.Context) (err error) {
	if w.out, err = newOutput(w.unit, w.claim); err != nil {
		return err
	}
	if w.unit.Place.View == seal.ByAddress {
		err = w.generateRecords(ctx)
	} else {
		err = w.generateIndex(ctx)
	}
	if err != nil || w.done.BytesIn == 0 {
		return err
	}
	if !w.unit.key.Alive() { // what did not open may be so because its key has gone
		return keyring.ErrDestroyed
	}
	w.wraps.append(w.out, &w.payload)
	w.out.head.Refused = w.refused
	return w.out.put(ctx, w.store)
}

// generateRecords reads everything once for each part that there is memory for.
func (w *compaction) generateRecords(ctx context.Context) error {
	for w.rows.First(w.room.rows); ; {
		w.rows.Grow(min(int(3*w.unit.records), w.room.rows+w.room.rows/16)) //nolint:gosec // bounded; some shards have thrice as many
		if err := w.readFrames(ctx, w.takeRecords); err != nil || w.done.BytesIn == 0 {
			return err
		}
		if err := w.mergeRecords(ctx); err != nil {
			return err
		}
		w.putRecords()
		if !w.rows.Next() {
			return nil
		}
		if err := w.out.rest(ctx, w.store, w.room.held); err != nil {
			return err
		}
	}
}

// mergeRecords adds what the current generation has of the part.
func (w *compaction) mergeRecords(ctx context.Context) error {
	return w.base.eachRun(func(run *cold.Run) error {
		blocks, first := len(run.Blocks), run.First
		for i := 0; i < blocks; {
			var some []int
			for ; i < blocks && len(some) < blocksAtOnce; i++ {
				if w.rows.Wants(run.Blocks[i]) {
					some = append(some, first+i)
				}
			}
			err := w.base.open(ctx, w.store, some, func(payload []byte) (err error) {
				w.records, err = w.decoder.Append(w.records[:0], payload, run.Clock, cold.Subject{})
				if err != nil {
					return err
				}
				return w.rows.Add(w.records)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// generateIndex of the account view: no record has to be in order, so what there is
// memory for is written, and the rest is another run.
func (w *compaction) generateIndex(ctx context.Context) error {
	if err := w.readFrames(ctx, w.takeMentions); err != nil || w.done.BytesIn == 0 {
		return err
	}
	err := w.base.eachRun(func(run *cold.Run) error {
		var index []int
		for i := range run.Index {
			index = append(index, run.First+len(run.Blocks)+i)
		}
		return w.base.open(ctx, w.store, index, func(payload []byte) error {
			if err := cold.EachPair(payload, func(p cold.Pair) { w.pair(p.Key, p.Value) }); err != nil {
				return err
			}
			return w.makeRoom(ctx)
		})
	})
	if err == nil {
		w.putRun(cold.Run{})
	}
	return err
}

// pair notes that the account of a name is in a shard or block. Repeats are many: most go at
// once, as what was noted lately is known, the others whenever they have filled the memory.
func (w *compaction) pair(name, value uint32) {
	known := &w.recent[name%uint32(len(w.recent))]
	if *known == (cold.Pair{Key: ^name, Value: ^value}) { // inverted, as nothing is known of what is 0
		return
	}
	*known = cold.Pair{Key: ^name, Value: ^value}
	if len(w.pairs) == cap(w.pairs) {
		w.pairs = w.sorter.Sort(w.pairs)
		w.pairs = slices.Grow(w.pairs, max(len(w.pairs), 1<<12))
	}
	w.pairs = append(w.pairs, cold.Pair{Key: name, Value: value})
}

// makeRoom writes pairs as a run of their own where there is no memory for more.
func (w *compaction) makeRoom(ctx context.Context) error {
	if len(w.pairs) < w.room.pairs {
		return nil
	}
	if w.pairs = w.sorter.Sort(w.pairs); len(w.pairs) < w.room.pairs/2 {
		return nil
	}
	w.putRun(cold.Run{})
	return w.out.rest(ctx, w.store, w.room.held)
}
