package store

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/dchest/siphash"

	"mayfly/retention/keyring"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// blockName is a block's field. Without the layout key it says nothing about the
// block's place in the order of addresses.
func (l layout) blockName(p seal.Place, generation uint64, part uint32) string {
	var b [1 + 4 + 8 + 4]byte
	b[0] = byte(p.View)
	binary.BigEndian.PutUint32(b[1:], p.Shard)
	binary.BigEndian.PutUint64(b[5:], generation)
	binary.BigEndian.PutUint32(b[13:], part)
	var name [8]byte
	binary.BigEndian.PutUint64(name[:], siphash.Hash(l.k0, l.k1, b[:]))
	return hex.EncodeToString(name[:])
}

// generation is the current generation of a place, opened.
type generation struct {
	place  seal.Place
	layout layout
	sealed *seal.Generation
	head   *cold.Head
}

// openGeneration opens a stored head; nil where there is none.
func openGeneration(key *keyring.Key, place seal.Place, stored Head) (*generation, error) {
	if stored.Bytes == nil {
		return nil, nil
	}
	secret, err := key.Cold()
	if err != nil {
		return nil, err
	}
	sealed, payload, err := secret.OpenGeneration(place, stored.Generation, stored.Bytes)
	if err != nil {
		return nil, err
	}
	head, err := cold.DecodeHead(payload)
	if err != nil {
		return nil, err
	}
	if head.Generation != stored.Generation {
		return nil, cold.ErrFormat
	}
	return &generation{place, layoutOf(key.Public), sealed, head}, nil
}

// frames is how many frames of a writer are in the generation.
func (g *generation) frames(writer seal.WriterID) uint64 {
	if g == nil {
		return 0
	}
	return g.head.Frames(writer)
}

// ref is where block i is stored.
func (g *generation) ref(i int) BlockRef {
	return BlockRef{g.place, g.head.Generation, g.layout.blockName(g.place, g.head.Generation, part(i))}
}

// open gives take the payloads of blocks; ErrDamaged where one is lost, or not what it
// should be.
func (g *generation) open(ctx context.Context, from Store, blocks []int, take func(payload []byte) error) error {
	for some := range slices.Chunk(blocks, blocksAtOnce) {
		refs := make([]BlockRef, len(some))
		for i, n := range some {
			refs[i] = g.ref(n)
		}
		stored, err := from.Blocks(ctx, refs)
		if err != nil {
			return err
		}
		for i, n := range some {
			payload, err := g.sealed.Open(part(n), stored[i])
			if err == nil {
				err = take(payload)
			}
			clear(payload)
			if errors.Is(err, seal.ErrOpen) || errors.Is(err, cold.ErrFormat) {
				return fmt.Errorf("%w: block %d: %w", ErrDamaged, n, err)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// eachRun visits the runs until there is an error; none where there is no generation.
func (g *generation) eachRun(visit func(*cold.Run) error) error {
	if g == nil {
		return nil
	}
	for i := range g.head.Runs {
		if err := visit(&g.head.Runs[i]); err != nil {
			return err
		}
	}
	return nil
}

// part is the number under which block i is sealed; 0 is the head.
func part(i int) uint32 { return uint32(i) + 1 } //nolint:gosec // a generation is no 4 billion blocks
