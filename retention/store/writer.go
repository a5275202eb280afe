package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// ErrKeyLost says that the key under which an epoch was being written is gone
// from every keyring node though its epoch lives: what was written under it can't be
// read. The events of the last seconds should be read from Kafka again.
var ErrKeyLost = errors.New("an epoch key was lost before its deadline")

// Batch is records of one epoch. They are in ascending order of offset for each partition.
type Batch struct {
	Epoch   retention.Epoch
	Records []record.Record
}

// frameRecords is the most records in one frame: about 200 kB.
const frameRecords = 4096

// lingering is how long a writer is kept after the end of its epoch for events
// that come late.
const lingering = 5 * time.Second

// Writer turns records into sealed frames. It can't read back: per epoch it
// holds a public key, and a frame key for as long as it writes. It is not for
// concurrent use.
type Writer struct {
	ring    *keyring.Keyring
	store   Store
	sealers map[retention.Epoch]*sealer
	pending bool // a sealed batch is not appended yet
	encoder record.Encoder
	plan    plan
	payload []byte
}

type sealer struct {
	*seal.Writer
	key      keyring.Public
	layout   layout
	records  uint64
	made     time.Time
	lastUsed time.Time
}

// Sealed is what Seal made of some batches, ready to be appended, as often as it takes.
type Sealed struct {
	groups []sealedGroup
	// Stored is how many records are in it.
	Stored int
	// Expired is how many were left out because their epoch is past its deadline.
	Expired int
}

type sealedGroup struct {
	deadline time.Time
	records  int
	frames   []seal.Frame
	manifest seal.Frame
}

// NewWriter makes a writer of the IP log.
func NewWriter(ring *keyring.Keyring, store Store) *Writer {
	return &Writer{ring: ring, store: store, sealers: map[retention.Epoch]*sealer{}}
}

// Seal makes frames of the batches' records; afterwards nothing here holds
// them. keyring.ErrNoKey: an epoch's key is not minted yet; try again.
// ErrKeyLost: read the last seconds again. A sealed batch that was never appended is forgotten, with the writers that sealed it.
func (w *Writer) Seal(ctx context.Context, batches []Batch) (*Sealed, error) {
	if w.pending {
		clear(w.sealers) // their sequences have gaps now, which readers would take for a loss
		w.pending = false
	}
	now := time.Now()
	w.retire(now)
	sealed := &Sealed{}
	sealers := make([]*sealer, len(batches))
	for i, b := range batches {
		s, err := w.sealer(ctx, b.Epoch, now)
		if errors.Is(err, keyring.ErrDestroyed) {
			sealed.Expired += len(b.Records)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sealing for epoch %v: %w", b.Epoch, err)
		}
		sealers[i] = s
	}
	for i, b := range batches {
		if s := sealers[i]; s != nil && len(b.Records) > 0 {
			sealed.groups = append(sealed.groups, w.seal(s, b.Records))
			sealed.Stored += len(b.Records)
		}
	}
	w.pending = len(sealed.groups) > 0
	return sealed, nil
}

// Append stores what Seal made. On an error call it again with the same batch.
func (w *Writer) Append(ctx context.Context, sealed *Sealed) error {
	for len(sealed.groups) > 0 {
		g := &sealed.groups[0]
		if time.Now().Before(g.deadline) {
			if err := w.store.Append(ctx, g.deadline, g.frames, g.manifest); err != nil {
				return err
			}
		} else {
			sealed.Stored -= g.records
			sealed.Expired += g.records
		}
		sealed.groups = sealed.groups[1:]
	}
	w.pending = false
	return nil
}

// sealer gives the writer of an epoch, making one where there is none.
func (w *Writer) sealer(ctx context.Context, epoch retention.Epoch, now time.Time) (*sealer, error) {
	keys, err := w.ring.Public(ctx, epoch)
	if err != nil && !errors.Is(err, keyring.ErrNoKey) {
		return nil, err
	}
	if s := w.sealers[epoch]; s != nil {
		for _, key := range keys {
			if key.ID == s.key.ID {
				s.lastUsed = now
				return s, nil
			}
		}
		delete(w.sealers, epoch)
		if !now.Before(s.key.Deadline) {
			return nil, keyring.ErrDestroyed
		}
		return nil, ErrKeyLost
	}
	if err != nil {
		return nil, err
	}
	key := keys[0]
	writer, err := seal.NewWriter(epoch, key.ID, key.Key)
	if err != nil {
		return nil, err
	}
	if err := w.ring.PublishWrap(ctx, key, writer.Wrap()); err != nil {
		return nil, err
	}
	s := &sealer{Writer: writer, key: key, layout: layoutOf(key), made: now, lastUsed: now}
	w.sealers[epoch] = s
	return s, nil
}

// retire drops the writers of epochs that are over. Late events get another,
// for one epoch length at most, so that no frame key lives longer than that.
func (w *Writer) retire(now time.Time) {
	for epoch, s := range w.sealers {
		length := time.Duration(epoch.Length) * time.Millisecond
		over := now.After(epoch.EndTime().Add(lingering)) && now.Sub(s.lastUsed) >= lingering
		if over || now.Sub(s.made) >= length+lingering || !now.Before(s.key.Deadline) {
			delete(w.sealers, epoch)
		}
	}
}

func (w *Writer) seal(s *sealer, records []record.Record) sealedGroup {
	g := sealedGroup{deadline: s.key.Deadline, records: len(records)}
	for _, view := range seal.Views {
		w.plan.make(s.layout, view, records)
		for shard := range s.key.Shards {
			for rest := w.plan.of(shard); len(rest) > 0; {
				n := min(len(rest), frameRecords)
				w.payload = w.encoder.Append(w.payload[:0], records, rest[:n])
				g.frames = append(g.frames, s.Seal(view, shard, w.payload))
				rest = rest[n:]
			}
		}
	}
	s.records += uint64(len(records))
	w.payload = appendManifest(w.payload[:0], s.records, s.key.Shards, s.Writer)
	g.manifest = s.Seal(seal.Manifest, 0, w.payload)
	clear(w.payload[:cap(w.payload)])
	return g
}

// plan sorts record numbers by shard, keeping their order (a counting sort).
type plan struct {
	shard  []uint32 // of each record
	starts []uint32 // of each shard, and the end
	order  []uint32
	group  []byte
}

func (p *plan) make(l layout, view seal.View, records []record.Record) {
	p.shard = grow(p.shard, len(records))
	p.order = grow(p.order, len(records))
	p.starts = grow(p.starts, int(l.shards)+1)
	clear(p.starts)
	for i := range records {
		p.shard[i], p.group = l.of(view, &records[i], p.group)
		p.starts[p.shard[i]+1]++
	}
	for s := 1; s < len(p.starts); s++ {
		p.starts[s] += p.starts[s-1]
	}
	for i := len(records) - 1; i >= 0; i-- { // from the back, each shard's end moves to its start
		p.starts[p.shard[i]+1]--
		p.order[p.starts[p.shard[i]+1]] = uint32(i)
	}
	clear(p.group)
}

// of lists the records of a shard in their order.
func (p *plan) of(shard uint32) []uint32 {
	end := uint32(len(p.order))
	if int(shard)+2 < len(p.starts) {
		end = p.starts[shard+2]
	}
	return p.order[p.starts[shard+1]:end]
}

func grow(s []uint32, n int) []uint32 {
	if cap(s) < n {
		return make([]uint32, n)
	}
	return s[:n]
}

// Holding reports whether a frame key of the epoch is in memory.
func (w *Writer) Holding(epoch retention.Epoch) bool { return w.sealers[epoch] != nil }
