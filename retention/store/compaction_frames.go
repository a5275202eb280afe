package store

import (
	"context"
	"errors"

	"mayfly/retention/record"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// How many frames are read at a time; one has up to edgeFrame bytes.
const (
	framesFirst = 64
	framesLeast = 16
	framesMost  = 4096
)

// readFrames gives take the payloads of those frames that are to be covered and are not
// yet, each once, in the order of the chunk: it is the same whenever it is read.
func (w *compaction) readFrames(ctx context.Context, take func(payload []byte) error) error {
	w.done.Rows, w.done.BytesIn, w.refused = 0, 0, 0
	if w.base != nil {
		w.refused = w.base.head.Refused
	}
	w.wraps = w.known.clone()
	taken := map[seal.WriterID]*cold.Spans{}
	search := &search{Reader: w.Reader}
	for from, n := 0, min(framesFirst, w.room.frames); ; {
		chunk, err := w.store.Frames(ctx, w.unit.Place, from, n)
		if err != nil {
			return err
		}
		frames := chunk.Frames
		size := 0
		for i := range frames {
			f := &frames[i]
			size += len(f.Bytes())
			if f.Sequence <= w.base.frames(f.Writer) || f.Sequence > w.upTo[f.Writer] {
				continue
			}
			of := taken[f.Writer]
			if of == nil {
				of = &cold.Spans{}
				taken[f.Writer] = of
			}
			if of.Has(f.Sequence) {
				continue // a repeat
			}
			if err := w.takeFrame(ctx, search, f, take); err == nil { // else a copy may be good where this one was not
				of.Add(f.Sequence)
				w.done.BytesIn += len(f.Bytes())
			}
			if err := errors.Join(ctx.Err(), w.makeRoom(ctx)); err != nil {
				return err
			}
		}
		if len(frames) < n {
			break
		}
		from += n
		n = min(max(w.room.frames/(size/n+1), min(framesLeast, w.room.frames)), framesMost)
	}
	return w.reach(taken)
}

// reach finds out how far each writer's frames were taken without a gap: what is behind
// one stays hot.
func (w *compaction) reach(taken map[seal.WriterID]*cold.Spans) error {
	var short error
	for writer, upTo := range w.upTo {
		reach := w.base.frames(writer)
		if of := taken[writer]; of != nil && len(*of) > 0 && (*of)[0].First == reach+1 {
			reach = (*of)[0].Last
		}
		if reach < upTo {
			w.upTo[writer], short = reach, errShort
		}
	}
	return short
}

func (w *compaction) takeFrame(ctx context.Context, s *search, f *seal.Frame, take func([]byte) error) (err error) {
	if n := f.Length(); cap(w.opened) < n {
		clear(w.opened[:cap(w.opened)])
		w.opened = make([]byte, 0, n+n/2)
	}
	payload, err := s.appendFrame(ctx, w.opened[:0], w.unit.key, f)
	if err != nil {
		return err
	}
	defer clear(payload)
	if isEdge(payload) {
		return w.takeSegments(payload)
	}
	return take(payload)
}

func (w *compaction) takeRecords(payload []byte) error {
	if err := w.columns.Decode(payload); err != nil {
		return err
	}
	if err := w.rows.AddColumns(&w.columns); err != nil {
		return err
	}
	w.done.Rows += w.columns.Len()
	return nil
}

func (w *compaction) takeMentions(payload []byte) error {
	return record.EachMention(payload, func(m record.Mention) {
		w.done.Rows++
		if m.Shard < w.unit.key.Shards { // else a producer has garbled it
			w.pair(m.Subject, m.Shard)
		}
	})
}
