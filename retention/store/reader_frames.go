package store

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// framesAtOnce is how many frames of a chunk one goroutine opens: a shard of the
// current epoch is as many as a thousand, and a look-up that waits for one of two
// cores is done in half the time.
const framesAtOnce = 128

func (s *search) openFrame(ctx context.Context, key *keyring.Key, f *seal.Frame) ([]byte, error) {
	return s.appendFrame(ctx, make([]byte, 0, f.Length()), key, f)
}

func (s *search) appendFrame(ctx context.Context, dst []byte, key *keyring.Key, f *seal.Frame) ([]byte, error) {
	reader, err := s.keys.Reader(ctx, key, f.Writer)
	if err != nil {
		return nil, err
	}
	return reader.Append(dst, f)
}

// open keeps what matches of the frames of a chunk of the address view.
func (s *search) open(ctx context.Context, c *chunk) error {
	edge, err := s.payloads(ctx, c, func() func([]byte) error {
		selection := s.selection()
		var records []record.Record
		return func(payload []byte) (err error) {
			before := selection.Rows
			records, err = selection.Append(records[:0], payload)
			s.scan(selection.Rows - before)
			s.keep(records, c, false)
			return err
		}
	})
	if err != nil {
		return err
	}
	selection := s.selection()
	var records []record.Record
	return s.openEdge(ctx, c, edge, func(id record.ID, payload []byte) (err error) {
		records, err = record.Decode(records[:0], payload)
		s.scan(len(records))
		kept := adopt(records, id, c.key.Epoch)
		s.refuse(len(records) - len(kept))
		s.keep(slices.DeleteFunc(kept, func(r record.Record) bool { return !selection.Matches(&r) }), c, false)
		return err
	})
}

func (s *search) selection() record.Selection {
	return record.Selection{Prefix: s.query.Prefix, Account: s.query.Account}
}

func (s *search) scan(rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scanned += rows
}

type frameID struct {
	writer   seal.WriterID
	sequence uint64
}

// payloads gives the payloads of those frames of a chunk that no generation covers,
// each once, to what taker makes, one for each goroutine, and erases them afterwards;
// segments that were sealed at the edge it gives back.
func (s *search) payloads(ctx context.Context, c *chunk, taker func() func([]byte) error) (*segments, error) {
	first, again := c.hot()
	o := &opening{search: s, chunk: c, edge: &segments{}, failed: map[frameID]struct{}{}}
	parts := slices.Collect(slices.Chunk(first, framesAtOnce))
	err := side(ctx, len(parts), func(ctx context.Context, i int) error { return o.frames(ctx, parts[i], taker()) })
	if err != nil || len(o.failed) == 0 {
		return o.edge, err
	}
	// A copy may be good where the first was not.
	for _, f := range again {
		if _, failed := o.failed[frameID{f.Writer, f.Sequence}]; failed {
			if err := o.frames(ctx, []*seal.Frame{f}, taker()); err != nil {
				return nil, err
			}
		}
	}
	return o.edge, nil
}

// hot lists the frames that no generation covers: the first of each, and its repeats.
func (c *chunk) hot() (first, again []*seal.Frame) {
	seen := make(map[frameID]struct{}, len(c.frames))
	for i := range c.frames {
		f := &c.frames[i]
		if f.Sequence > 0 && f.Sequence <= c.generation.frames(f.Writer) {
			continue
		}
		id := frameID{f.Writer, f.Sequence}
		if _, there := seen[id]; there {
			again = append(again, f)
			continue
		}
		seen[id] = struct{}{}
		first = append(first, f)
	}
	return first, again
}

// opening is one chunk whose frames are opened side by side.
type opening struct {
	*search
	chunk *chunk

	mu     sync.Mutex // guards edge, and failed: whose ids no frame was opened for
	edge   *segments
	failed map[frameID]struct{}
}

// frames opens frames one after the other, in one piece of memory.
func (o *opening) frames(ctx context.Context, frames []*seal.Frame, take func([]byte) error) error {
	var buffer []byte
	defer func() { clear(buffer[:cap(buffer)]) }()
	for _, f := range frames {
		if n := f.Length(); cap(buffer) < n {
			clear(buffer[:cap(buffer)])
			buffer = make([]byte, 0, n+n/2)
		}
		payload, err := o.appendFrame(ctx, buffer[:0], o.chunk.key, f)
		if err == nil {
			err = o.take(payload, take)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		o.note(frameID{f.Writer, f.Sequence}, err)
	}
	return nil
}

func (o *opening) take(payload []byte, take func([]byte) error) error {
	if !isEdge(payload) {
		return take(payload)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.edge.add(bytes.Clone(payload)) // which keeps slices of it
}

func (o *opening) note(id frameID, err error) {
	if err != nil {
		o.incomplete()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failed[id] = struct{}{}
	} else {
		delete(o.failed, id)
	}
}
