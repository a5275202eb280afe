package store

import (
	"context"
	"errors"
	"time"

	"mayfly/retention/seal"
)

// ErrClaimed says that somebody else compacts a place, or has taken it over.
var ErrClaimed = errors.New("another compactor has claimed it")

// Generations are the cold tier of a store: of each place at most one generation is
// current, and it counts beside what is in the place's chunk. Everything has the
// epoch's deadline from birth and dies with its chunks: Shorten and Unlink reach it.
type Generations interface {
	// Blocks reads blocks, in the order of refs; nil for one that is not there.
	Blocks(ctx context.Context, refs []BlockRef) ([][]byte, error)

	// Claim makes owner the only one who may make a generation of place, for as long
	// as the lease lasts, and numbers that generation; ErrClaimed: somebody else is.
	// keyring.ErrDestroyed: by the server's clock the deadline has come.
	Claim(ctx context.Context, place seal.Place, deadline time.Time, owner string) (Claim, error)
	// Put stores blocks of the claimed generation, if there are any, and renews the lease.
	Put(ctx context.Context, claim Claim, blocks []Block) error
	// Flip makes the claimed generation the current one, if all blocks that names
	// lists are there, and ends the claim.
	Flip(ctx context.Context, claim Claim, head []byte, names []string) error
	// Release ends a claim without a generation.
	Release(ctx context.Context, claim Claim) error
	// Tidy removes the blocks of generations before that with this head. ErrClaimed: it
	// is not the current one, or not any more: a failover may have taken the flip back.
	Tidy(ctx context.Context, place seal.Place, current Head) error
	// Frames reads of a chunk at most n frames, from the one at that place on, and the head.
	Frames(ctx context.Context, place seal.Place, from, n int) (Chunk, error)
	// Remove removes the frames of a chunk that a generation covers, of each writer the
	// first so many, and their repeats, as long as it is the current one, like Tidy. It
	// gives how many others are left.
	Remove(ctx context.Context, place seal.Place, current Head, covered map[seal.WriterID]uint64) (left int, err error)
}

// Head is the sealed head of a generation.
type Head struct {
	Generation uint64
	Bytes      []byte
}

// Block is a sealed block. Its name says nothing about its place in the order.
type Block struct {
	Name  string
	Bytes []byte
}

// BlockRef is where a block is.
type BlockRef struct {
	Place      seal.Place
	Generation uint64
	Name       string
}

// Claim is the right to make one generation of a place.
type Claim struct {
	Place      seal.Place
	Deadline   time.Time
	Owner      string
	Generation uint64
}

// lease is how long a claim lasts without a Put: longer than a place takes.
const lease = 30 * time.Second
