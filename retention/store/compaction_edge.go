package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"mayfly/retention/record"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// What was sealed at the edge is judged by readers while it is hot, and by the compactor
// when it moves: it keeps the records of those segments that open and are what a
// producer may seal, and counts the others. Which segments it has taken stays known with
// the wraps, so that one which Kafka delivers once more, or which somebody has copied to
// another offset, counts once however late it comes.

// wraps are what a generation knows of wraps.
type wraps map[seal.WrapID]*cold.Wrap

// maxWraps bounds the memory for them, 1.2 kB each: whoever may write to the topic can
// make any number. Frames with more of them stay hot.
const maxWraps = 1 << 14

var (
	errWraps    = errors.New("too many wraps in one shard")
	errWrapLost = errors.New("a wrap is missing")
)

// wraps reads what a generation knows of wraps; ErrDamaged where a block is lost.
func (g *generation) wraps(ctx context.Context, from Store) (wraps, error) {
	known := wraps{}
	if g == nil {
		return known, nil
	}
	var blocks []int
	end := g.head.Blocks()
	for i := end - g.head.Wraps; i < end; i++ {
		blocks = append(blocks, i)
	}
	err := g.open(ctx, from, blocks, func(payload []byte) error {
		return cold.EachWrap(payload, func(w cold.Wrap) { known[seal.Wrap{Writer: w.Writer, Encapsulated: w.Encapsulated}.ID()] = &w })
	})
	return known, err
}

func (k wraps) clone() wraps {
	c := make(wraps, len(k))
	for id, w := range k {
		of := *w
		of.Segments = slices.Clone(w.Segments)
		c[id] = &of
	}
	return c
}

// note keeps wraps of a payload, which they may not refer to.
func (k wraps) note(found map[seal.WrapID]seal.Wrap) {
	for id, w := range found {
		if k[id] == nil {
			k[id] = &cold.Wrap{Writer: w.Writer, Encapsulated: bytes.Clone(w.Encapsulated)}
		}
	}
}

// append writes them into blocks of their own.
func (k wraps) append(out *output, payload *[]byte) {
	var all []cold.Wrap
	for _, id := range slices.SortedFunc(maps.Keys(k), func(a, b seal.WrapID) int { return cmp.Compare(string(a[:]), string(b[:])) }) {
		all = append(all, *k[id])
	}
	fill(all, payload, new(int), each[cold.Wrap](1<<10), cold.AppendWraps, func([]cold.Wrap) {
		out.add(*payload)
		out.head.Wraps++
	})
}

// takeSegments gives what the unit needs of the segments of a payload. An error is one of
// the frame: a segment that is not what it should be is left out and counted.
func (w *compaction) takeSegments(payload []byte) error {
	var found segments
	if err := found.add(payload); err != nil {
		return err
	}
	w.wraps.note(found.wraps)
	if len(w.wraps) > maxWraps {
		return errWraps
	}
	if slices.ContainsFunc(found.rows, func(r segmentRow) bool { return w.wraps[r.wrap] == nil }) {
		return errWrapLost
	}
	for _, row := range found.rows {
		if err := w.takeSegment(row); err != nil {
			return err
		}
	}
	return nil
}

func (w *compaction) takeSegment(row segmentRow) error {
	known, place := w.wraps[row.wrap], w.unit.Place
	place.View = place.View.AtEdge()
	frame, err := seal.ParseSegment(place, known.Writer, row.segment)
	if err == nil && known.Segments.Has(frame.Sequence) {
		return nil
	}
	var payload []byte
	if err == nil {
		payload, err = w.openSegment(w.unit.key, &frame, known)
		defer clear(payload)
	}
	if err == nil {
		err = w.takeSealed(row.id, payload)
	}
	switch {
	case errors.Is(err, cold.ErrUnfit):
		return err
	case err != nil:
		w.refused++
	default:
		known.Segments.Add(frame.Sequence) // only what has opened: a forgery hides nothing
	}
	return nil
}

// takeSealed keeps what a producer may seal of the payload of a segment.
func (w *compaction) takeSealed(id record.ID, payload []byte) (err error) {
	if w.unit.Place.View == seal.ByAccount {
		return w.takeMentions(payload)
	}
	if w.records, err = record.Decode(w.records[:0], payload); err != nil {
		return err
	}
	kept := adopt(w.records, id, w.unit.Place.Epoch)
	if err := w.rows.Add(kept); err != nil {
		return err
	}
	w.refused += uint64(len(w.records) - len(kept)) //nolint:gosec // not negative
	w.done.Rows += len(kept)
	return nil
}
