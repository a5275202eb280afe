package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/record/cold"
	"mayfly/retention/seal"
)

// room is what a compactor has in memory at a time. The warden lays an epoch out for
// 100,000 events a shard; one whose rate nobody foresaw is read several times, once for
// each part of its addresses.
type room struct {
	rows   int // records, sorted at a time
	pairs  int // of the index
	frames int // bytes that are read of a chunk
	held   int // bytes of blocks
}

var plenty = room{rows: 300_000, pairs: 1 << 20, frames: 4 << 20, held: 32 << 20}

// blocksAtOnce is how many blocks are fetched in one pipeline, about 1.5 MB.
const blocksAtOnce = 128

// Compactor moves what writers have acknowledged from the chunks of an epoch into
// generations. It reads and writes: it holds private keys. It is not for
// concurrent use; several processes may work on one epoch.
//
// The steps of a unit, each of which may be the last: claim a generation, put its
// blocks, flip the head, tidy the old blocks away, remove the frames. Until the flip
// nothing has changed for readers; after it the head says which frames it covers, so
// that those which are still there count once. The last two do nothing where that is no
// longer the head: a failover takes back what was acknowledged last. A writer's frames are covered from
// the first one on without a gap, as far as its manifest goes: what is lost stays
// missing, and later frames stay hot until the next time. What was sealed at the edge is
// opened and covered like the rest.
type Compactor struct {
	*Reader
	owner   string
	room    room
	rows    cold.Rows          // of the unit under way
	pairs   []cold.Pair        // which account is in which block, or shard
	recent  [1 << 13]cold.Pair // those that pair has noted lately, inverted
	columns record.Columns     // of a frame under way
	records []record.Record    // of a block
	payload []byte             // of a block
	opened  []byte             // of a frame
	encoder cold.Encoder
	decoder cold.Decoder
	sorter  cold.PairSorter
	weight  struct{ rows, pairs int } // see fill
}

// NewCompactor makes a compactor that finds its epochs through reader.
func NewCompactor(reader *Reader) *Compactor {
	return &Compactor{Reader: reader, owner: rand.Text(), room: plenty}
}

// Unit is what is compacted at a time: one view of one shard under one epoch key.
type Unit struct {
	Place    seal.Place
	Deadline time.Time
	key      *keyring.Key
	written  map[seal.WriterID]uint64
	records  uint64 // about how many
}

// Compacted is what became of a unit.
type Compacted struct {
	Generation uint64 // 0: there was nothing to do
	Rows       int    // that were hot before, repeats included
	BytesIn    int    // of frames
	BytesOut   int    // of the whole generation
	Left       int    // frames that stay hot
}

// Units lists the units of a living epoch in which something was written. The
// second result tells one state of the epoch from another: while it stays the
// same, no writer has acknowledged anything new.
func (c *Compactor) Units(ctx context.Context, epoch retention.Epoch) ([]Unit, string, error) {
	directories, err := c.store.Directories(ctx, []retention.Epoch{epoch})
	if err != nil {
		return nil, "", fmt.Errorf("listing units: %w", err)
	}
	d := directories[0]
	keys, err := c.keys.Keys(ctx, epoch, d.written()...)
	if errors.Is(err, keyring.ErrNoKey) || errors.Is(err, keyring.ErrDestroyed) {
		return nil, "", nil
	} else if err != nil {
		return nil, "", fmt.Errorf("listing units: %w", err)
	}
	s := &search{Reader: c.Reader}
	manifests := s.manifests(ctx, d, keys)
	var units []Unit
	for _, key := range keys {
		var records uint64
		for writer, m := range manifests {
			if writer.key == key.ID {
				records += m.records
			}
		}
		for _, view := range seal.Views {
			for shard := range key.Shards {
				u := Unit{
					Place:    seal.Place{Epoch: epoch, Key: key.ID, View: view, Shard: shard},
					Deadline: c.deadline(key), key: key, records: records / uint64(key.Shards),
				}
				if u.written = written(manifests, u.Place); len(u.written) > 0 {
					units = append(units, u)
				}
			}
		}
	}
	return units, state(d), nil
}

// written is how many frames each writer says it has put at a place.
func written(manifests map[writerOf]manifest, p seal.Place) map[seal.WriterID]uint64 {
	frames := map[seal.WriterID]uint64{}
	for writer, m := range manifests {
		if writer.key == p.Key && m.frames[p.View][p.Shard] > 0 {
			frames[writer.id] = m.frames[p.View][p.Shard]
		}
	}
	return frames
}

func state(d Directory) string {
	var latest []string
	for i := range d.Manifests {
		m := &d.Manifests[i]
		latest = append(latest, fmt.Sprint(m.Place.Key, m.Writer, m.Sequence))
	}
	slices.Sort(latest)
	return fmt.Sprint(latest)
}

// ErrDamaged says that a block or head of the current generation is lost or does
// not open. It stays as it is: a new generation would make the loss invisible.
var ErrDamaged = errors.New("a generation is damaged")

// Compact brings a unit's acknowledged frames into its generation. ErrClaimed: somebody
// else does. After any error it is safe to try again, at once or by another.
func (c *Compactor) Compact(ctx context.Context, u Unit) (Compacted, error) {
	claim, err := c.store.Claim(ctx, u.Place, u.Deadline, c.owner)
	if err != nil {
		return Compacted{}, err
	}
	w := &compaction{Compactor: c, unit: u, claim: claim, upTo: maps.Clone(u.written)}
	defer w.wipe()
	if err = w.begin(ctx); err == nil {
		err = w.generate(ctx)
	}
	for errors.Is(err, errShort) {
		// What has been put by now goes with the blocks of earlier generations.
		if w.claim, err = c.store.Claim(ctx, u.Place, u.Deadline, c.owner); err != nil {
			return Compacted{}, err
		}
		err = w.generate(ctx)
	}
	if err != nil || w.done.BytesIn == 0 {
		err = errors.Join(err, c.store.Release(ctx, w.claim))
	} else {
		err = w.flip(ctx)
	}
	if err != nil {
		return Compacted{}, err
	}
	return w.done, w.remove(ctx)
}
