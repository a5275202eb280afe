// Package store is the IP log: records go in sealed, are found again by
// address or account while their window lasts, and nothing else of them is
// ever written anywhere. Its parts, in the order in which a record meets them:
//
//	Writer      records → shards → columns → sealed frames
//	Store       frames in chunks, each chunk with its absolute expiry (Redis, or memory)
//	Compactor   frames of an epoch that is over → blocks, a fifth of the size (hot → cold)
//	Reader      a query → chunks, blocks → records, each once, none past its deadline
//
// The address view holds the records. The account view holds mentions only: in
// which shards of the address view an account has records. (Both views in full
// took 72 bytes an event instead of 32, and half as much CPU time again.)
//
// A chunk is the list of frames of one epoch key, view and shard. Beside it may be
// a generation: what was in the chunk, sorted, under a head that says which frames of
// each writer it covers (record/cold; 10 to 12 bytes an event). Each epoch has
// a directory: which keys were opened for it, and of every writer a
// manifest of the frames it has written. A reader that misses
// a frame, a key or a directory says so.
package store

import (
	"context"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// Store keeps frames until their deadline.
type Store interface {
	// Open enters a new key in its epoch's directory, before anybody may use it.
	Open(ctx context.Context, key keyring.Public) error
	// Append adds frames to their chunks, then puts their writer's manifest in
	// the directory. When it returns nil all of them are stored, each in a Redis key
	// that expires at deadline or before. After an error any of them may be: append
	// again the frames that a *Partial error names, else all of them; readers drop
	// the repeats.
	Append(ctx context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error
	// Directories reads the directories of epochs, in their order.
	Directories(ctx context.Context, epochs []retention.Epoch) ([]Directory, error)
	// Chunks reads chunks, in the order of places, and of each its frames before its
	// head: a frame that a compactor has removed meanwhile is covered by the head then. It
	// must come after Directories: a frame that a manifest names is then there.
	Chunks(ctx context.Context, places []seal.Place) ([]Chunk, error)
	// Shorten brings the expiry of everything under key forward to deadline.
	Shorten(ctx context.Context, key keyring.Public, deadline time.Time) error
	// Unlink removes an epoch: its directory and the chunks of every key the
	// directory or keys name. When it returns nil none of them is there any more.
	// Unlinking twice is no error.
	Unlink(ctx context.Context, epoch retention.Epoch, keys []keyring.Public) error
	// Check asks every server for its identity and its clock.
	Check(ctx context.Context) (Health, error)
	Generations
}

// Chunk is what a store has at one place.
type Chunk struct {
	// Frames are as they came, repeats among them.
	Frames []seal.Frame
	// Head is that of the current generation; the zero Head where there is none.
	Head Head
}

// Directory is what a store knows of one epoch.
type Directory struct {
	// Keys maps each key opened for the epoch to its shards per view.
	Keys map[seal.KeyID]uint32
	// Manifests are the latest of each writer, sealed.
	Manifests []seal.Frame
	// Successor says that one of them succeeded a key that was lost.
	Successor bool
	// Damaged says that it holds what no writer and no warden wrote.
	Damaged bool
}

// Partial is an append of which some frames are stored. Rest are the others, so
// that a store that refuses one chunk for hours is not filled with repeats.
type Partial struct {
	Rest []seal.Frame
	Err  error
}

// Error implements error.
func (p *Partial) Error() string { return p.Err.Error() }

// Unwrap gives the cause.
func (p *Partial) Unwrap() error { return p.Err }

// Health is what Check found.
type Health struct {
	// Identity changes when a server was restarted or replaced by a replica: what
	// was acknowledged shortly before may be lost.
	Identity string
	// Ahead is how far the furthest server's clock is ahead of ours; negative when
	// all are behind. A server that is ahead deletes early, and still answers as if it had stored.
	Ahead time.Duration
	// Behind is the same the other way: when ours is ahead, we take living events for expired.
	Behind time.Duration
}
