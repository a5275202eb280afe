package store

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mayfly/retention"
	"mayfly/retention/record"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
	"mayfly/retention/secret"
)

// rereads is how often a chunk in which something is missing is read again before that
// counts: a compactor may have moved it between two steps of a look-up.
const rereads = 3

// each reads chunks and the generations beside them, does what is to be done with the
// frames of each, side by side, and with the blocks of all of them together. Those that were
// compacted, most likely, are read beside the others: one waits for Redis while the other opens.
func (s *search) each(ctx context.Context, chunks []chunk,
	frames func(context.Context, *chunk) error, blocks func(context.Context, []*chunk) error,
) error {
	var tiers [2][]*chunk // hot, cold
	now := time.Now()
	for i := range chunks {
		tier := 0
		if chunks[i].settled(now) {
			tier = 1
		}
		tiers[tier] = append(tiers[tier], &chunks[i])
	}
	return side(ctx, len(tiers), func(ctx context.Context, i int) error { return s.tier(ctx, tiers[i], frames, blocks) })
}

func (s *search) tier(ctx context.Context, left []*chunk,
	frames func(context.Context, *chunk) error, blocks func(context.Context, []*chunk) error,
) error {
	for attempt := 0; len(left) > 0; attempt++ {
		if err := s.fetch(ctx, left); err != nil {
			return err
		}
		ready := left
		if attempt < rereads {
			ready = slices.DeleteFunc(slices.Clone(left), func(c *chunk) bool { return c.missing })
		}
		if err := side(ctx, len(ready), func(ctx context.Context, i int) error { return frames(ctx, ready[i]) }); err != nil {
			return err
		}
		if err := blocks(ctx, ready); err != nil {
			return err
		}
		left = slices.DeleteFunc(left, func(c *chunk) bool { return !c.missing })
		if attempt == rereads && len(left) > 0 {
			s.incomplete()
			break
		}
	}
	return nil
}

// fetch reads chunks, and opens the heads of their generations.
func (s *search) fetch(ctx context.Context, chunks []*chunk) error {
	places := make([]seal.Place, len(chunks))
	for i := range chunks {
		places[i] = chunks[i].place
	}
	stored, err := s.store.Chunks(ctx, places)
	if err != nil {
		return err
	}
	return side(ctx, len(chunks), func(_ context.Context, i int) error {
		c := chunks[i]
		var err error
		c.frames = stored[i].Frames
		c.generation, err = openGeneration(c.key, c.place, stored[i].Head)
		// A chunk that was purged between two steps of this look-up is no loss.
		c.missing = (err != nil || !c.whole()) && c.deadline.After(time.Now())
		return nil
	})
}

// side does something n times, side by side: until one fails, or ctx ends. A goroutine does
// many of them one after the other, as a release build erases the stack of each that ends:
// one for each took a tenth of the CPU of a look-up there.
func side(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(n, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			secret.GrowStack()
			defer secret.WipeStack()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, int(i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// wanted is one block in which the subject can be.
type wanted struct {
	chunk *chunk
	run   *cold.Run
	block int
}

// runs yields the runs of the generations of chunks.
func runs(chunks []*chunk, visit func(*chunk, *cold.Run)) {
	for _, c := range chunks {
		if c.generation != nil {
			for i := range c.generation.head.Runs {
				visit(c, &c.generation.head.Runs[i])
			}
		}
	}
}

// openBlocks keeps what matches of the blocks of chunks of the address view.
func (s *search) openBlocks(ctx context.Context, chunks []*chunk) error {
	var rows []wanted
	if s.query.Account == "" {
		runs(chunks, func(c *chunk, run *cold.Run) {
			from, to := run.Find(s.query.Prefix)
			for ; from < to; from++ {
				rows = append(rows, wanted{c, run, from})
			}
		})
	} else {
		err := s.openIndex(ctx, chunks, func(w wanted, value uint32) {
			if block, ok := w.run.Block(value); ok {
				rows = append(rows, wanted{w.chunk, w.run, block})
			}
		})
		if err != nil {
			return err
		}
	}
	subject := cold.Subject{Prefix: s.query.Prefix, Account: s.query.Account}
	return s.blocks(ctx, rows, func(w wanted, with *blockScratch) (err error) {
		if s.beyond(w.chunk.place.Epoch) {
			return nil // the block is there, and opens: nothing is missing
		}
		with.decoder.Rows = 0
		with.records, err = with.decoder.Append(with.records[:0], with.payload, w.run.Clock, subject)
		s.touch(with.decoder.Rows)
		s.keep(with.records, w.chunk, true)
		return err
	})
}

// openIndex finds what the indexes of chunks have for the account, one at a time.
func (s *search) openIndex(ctx context.Context, chunks []*chunk, found func(wanted, uint32)) error {
	var index []wanted
	runs(chunks, func(c *chunk, run *cold.Run) {
		_, name := c.generation.layout.account([]byte(s.query.Account))
		from, to := run.FindKey(name)
		for ; from < to; from++ {
			index = append(index, wanted{c, run, from})
		}
	})
	var mu sync.Mutex // guards found
	return s.blocks(ctx, index, func(w wanted, with *blockScratch) error {
		_, name := w.chunk.generation.layout.account([]byte(s.query.Account))
		return cold.EachPair(with.payload, func(p cold.Pair) {
			if p.Key == name {
				mu.Lock()
				defer mu.Unlock()
				found(w, p.Value)
			}
		})
	})
}

// blockScratch is what opening a block needs, and look-ups share: 100 kB, which are
// erased in between.
type blockScratch struct {
	decoder cold.Decoder
	payload []byte
	records []record.Record
}

func (s *blockScratch) wipe() {
	clear(s.payload)
	clear(s.records)
}

// blocks fetches blocks and gives take the payload of each, side by side. A chunk of
// which a block is lost misses something.
func (s *search) blocks(ctx context.Context, all []wanted, take func(wanted, *blockScratch) error) error {
	var mu sync.Mutex // guards missing
	for some := range slices.Chunk(all, blocksAtOnce) {
		refs := make([]BlockRef, len(some))
		for i, w := range some {
			refs[i] = w.chunk.generation.ref(w.block)
		}
		stored, err := s.store.Blocks(ctx, refs)
		if err != nil {
			return err
		}
		err = side(ctx, len(some), func(_ context.Context, i int) error {
			c := some[i].chunk
			with := s.scratch.Get().(*blockScratch) //nolint:errcheck // nothing else is in it
			defer s.scratch.Put(with)
			defer with.wipe()
			var err error
			with.payload = slices.Grow(with.payload[:0], len(stored[i]))
			with.payload, err = c.generation.sealed.Append(with.payload, part(some[i].block), stored[i])
			if err == nil {
				err = take(some[i], with)
			}
			if err != nil && c.deadline.After(time.Now()) {
				mu.Lock()
				defer mu.Unlock()
				c.missing = true
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// beyond reports whether the records of an epoch come after those that the limit keeps.
func (s *search) beyond(epoch retention.Epoch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found.beyond(epoch.Start)
}

func (s *search) touch(rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touched += rows
}
