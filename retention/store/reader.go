package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// Reader finds records. It is safe for concurrent use.
type Reader struct {
	policies retention.Policies
	keys     *keyring.Opener
	store    Store
	refused  atomic.Uint64
	scratch  sync.Pool // of *blockScratch
}

// NewReader makes a reader of the epochs of policies.
func NewReader(policies retention.Policies, keys *keyring.Opener, store Store) *Reader {
	return &Reader{
		policies: policies, keys: keys, store: store,
		scratch: sync.Pool{New: func() any { return &blockScratch{} }},
	}
}

// settling is how long after an epoch's start its key may still be on its way.
const settling = 2 * time.Second

// How much of a long look-up is in memory at a time: a day's epochs, as each turn costs
// three answers of Redis, and records in frames of about 36 bytes. Redis answers nobody else
// while it reads a turn, 0.6 ms a full shard: twelve of them keep that below 10 ms. Chunks of
// epochs that have been over for a while were compacted, most likely, and count for less.
const (
	epochsAtOnce  = 128
	recordsAtOnce = 1_200_000
	compactedFor  = 5 * time.Minute
	compactedPart = 10
)

// Find answers q from the epochs that live now. What is due by the time of the
// answer is not in it, whatever the store, the keyring or a cache still has.
func (r *Reader) Find(ctx context.Context, q Query) (Answer, error) {
	s := &search{Reader: r, query: q, found: findings{limit: q.Limit}, complete: r.keys.InTime()}
	epochs, err := s.list(ctx, time.Now())
	if err != nil {
		return Answer{}, fmt.Errorf("looking up: %w", err)
	}
	for batch := range slices.Chunk(epochs, epochsAtOnce) {
		if err := s.epochs(ctx, batch); err != nil {
			return Answer{}, fmt.Errorf("looking up: %w", err)
		}
	}
	return s.answer(time.Now()), nil
}

// list lists the epochs in which the query's records can be, oldest first: those that the
// policies say must live now, and those that have a key though no policy says
// so any more. It notes which have none.
func (s *search) list(ctx context.Context, now time.Time) ([]retention.Epoch, error) {
	keyed, err := s.keys.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	epochs, hasKey := slices.Clone(keyed), map[retention.Epoch]bool{}
	for _, epoch := range keyed {
		hasKey[epoch] = true
	}
	for i := range s.policies {
		epochs = append(epochs, s.policies[i].Live(now)...)
	}
	slices.SortFunc(epochs, func(a, b retention.Epoch) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Length, b.Length), cmp.Compare(a.Policy, b.Policy))
	})
	q := &s.query
	epochs = slices.DeleteFunc(slices.Compact(epochs), func(e retention.Epoch) bool {
		return len(q.Policies) > 0 && !slices.Contains(q.Policies, e.Policy) ||
			!e.EndTime().After(q.From) || !q.To.IsZero() && e.StartTime().After(q.To)
	})
	s.absent = s.keys.Absent(ctx, slices.DeleteFunc(slices.Clone(epochs), func(e retention.Epoch) bool { return hasKey[e] }))
	return epochs, nil
}

// search is one look-up under way.
type search struct {
	*Reader
	query  Query
	absent map[retention.Epoch]bool // epochs without a key, and whether each was purged

	mu       sync.Mutex // guards the results of frames that are opened side by side
	found    findings
	complete bool
	refused  int
	touched  int // records of generations
	scanned  int // records of frames
}

// chunk is one list of frames to read, and the generation beside it.
type chunk struct {
	key      *keyring.Key
	place    seal.Place
	deadline time.Time
	source   *source
	writers  map[writerOf]manifest // of the epoch

	frames     []seal.Frame
	generation *generation // nil: there is none
	missing    bool        // something that was written
}

// at is the chunk of the same key at another place.
func (c *chunk) at(view seal.View, shard uint32) chunk {
	other := chunk{key: c.key, place: c.place, deadline: c.deadline, source: c.source, writers: c.writers}
	other.place.View, other.place.Shard = view, shard
	return other
}

// whole reports whether frames and generation have all that the chunk's writers
// say is in it.
func (c *chunk) whole() bool {
	for writer, m := range c.writers {
		if writer.key == c.key.ID &&
			!holds(c.frames, writer.id, c.generation.frames(writer.id), m.frames[c.place.View][c.place.Shard]) {
			return false
		}
	}
	return true
}

// written lists the keys under which something was acknowledged.
func (d *Directory) written() []seal.KeyID {
	var ids []seal.KeyID
	for i := range d.Manifests {
		if id := d.Manifests[i].Place.Key; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// deadline is the key's own, or the policy's where its window was shortened since.
func (r *Reader) deadline(key *keyring.Key) time.Time {
	if p := r.policy(key.Epoch); p != nil {
		return earlier(key.Deadline, key.Epoch.Deadline(p.Window))
	}
	return key.Deadline
}

// policy is that of an epoch; nil where it is configured no more.
func (r *Reader) policy(epoch retention.Epoch) *retention.Policy {
	for i := range r.policies {
		if r.policies[i].Name == epoch.Policy {
			return &r.policies[i]
		}
	}
	return nil
}

func (s *search) epochs(ctx context.Context, epochs []retention.Epoch) error {
	directories, err := s.store.Directories(ctx, epochs)
	if err != nil {
		return err
	}
	of := make([][]chunk, len(epochs))
	err = side(ctx, len(epochs), func(ctx context.Context, i int) (err error) {
		of[i], err = s.chunks(ctx, epochs[i], directories[i])
		return err
	})
	if err != nil {
		return err
	}
	chunks := slices.Concat(of...)
	if s.query.Account != "" {
		if chunks, err = s.mentioned(ctx, chunks); err != nil {
			return err
		}
	}
	for len(chunks) > 0 {
		n := turn(chunks, time.Now())
		if err := s.each(ctx, chunks[:n], s.open, s.openBlocks); err != nil {
			return err
		}
		clear(chunks[:n]) // their frames may go
		chunks = chunks[n:]
	}
	return nil
}

// turn is how many of chunks are read at once, at least 1.
func turn(chunks []chunk, now time.Time) int {
	records := uint64(0)
	for i := range chunks {
		c := &chunks[i]
		n := c.records()
		if c.settled(now) {
			n /= compactedPart
		}
		if records += n; records > recordsAtOnce && i > 0 {
			return i
		}
	}
	return len(chunks)
}

// settled reports whether the chunk's epoch has been over for so long that it was
// compacted, most likely.
func (c *chunk) settled(now time.Time) bool { return now.Sub(c.place.Epoch.EndTime()) > compactedFor }

// records is about how many its writers say they have put there.
func (c *chunk) records() (n uint64) {
	for writer, m := range c.writers {
		if writer.key == c.key.ID {
			n += m.records
		}
	}
	return n / max(uint64(c.key.Shards), 1)
}

// mentioned gives the chunks of the address view in which, by these of the
// account view, the account has records.
func (s *search) mentioned(ctx context.Context, chunks []chunk) ([]chunk, error) {
	var mu sync.Mutex // guards found
	found := map[seal.Place]chunk{}
	mention := func(c *chunk, shard uint32) {
		mu.Lock()
		defer mu.Unlock()
		if shard < c.key.Shards {
			at := c.at(seal.ByAddress, shard)
			found[at.place] = at
		}
	}
	err := s.each(ctx, chunks, func(ctx context.Context, c *chunk) error {
		_, subject := layoutOf(c.key.Public).account([]byte(s.query.Account))
		take := func(payload []byte) error {
			return record.Mentioned(payload, subject, func(shard uint32) { mention(c, shard) })
		}
		edge, err := s.payloads(ctx, c, func() func([]byte) error { return take })
		if err == nil {
			err = s.openEdge(ctx, c, edge, func(_ record.ID, payload []byte) error { return take(payload) })
		}
		return err
	}, func(ctx context.Context, chunks []*chunk) error {
		return s.openIndex(ctx, chunks, func(w wanted, shard uint32) { mention(w.chunk, shard) })
	})
	return slices.Collect(maps.Values(found)), err
}

// chunks lists what to read of an epoch, and finds out whether all its keys and
// its directory are there.
func (s *search) chunks(ctx context.Context, epoch retention.Epoch, d Directory) ([]chunk, error) {
	written := d.written()
	if purged, absent := s.absent[epoch]; absent && len(written) == 0 {
		s.keyless(epoch, false, func() bool { return purged })
		return nil, nil
	}
	keys, err := s.keys.Keys(ctx, epoch, written...)
	switch {
	case errors.Is(err, keyring.ErrDestroyed):
		return nil, nil // it died since we listed it
	case errors.Is(err, keyring.ErrNoKey):
		s.keyless(epoch, len(written) > 0, func() bool { return s.keys.Purged(ctx, epoch) })
		return nil, nil
	case err != nil:
		return nil, err
	}
	s.judge(&d, keys)
	manifests := s.manifests(ctx, d, keys)
	var chunks []chunk
	for _, key := range keys {
		deadline := s.deadline(key)
		if !deadline.After(time.Now()) {
			continue
		}
		view, shards := layoutOf(key.Public).shardsOf(s.query)
		from := &source{deadline: deadline, key: key}
		for _, shard := range shards {
			c := chunk{key: key, deadline: deadline, source: from, writers: manifests}
			c.place = seal.Place{Epoch: epoch, Key: key.ID, View: view, Shard: shard}
			chunks = append(chunks, c)
		}
	}
	return chunks, nil
}

// keyless judges an epoch that has no key: nothing can be read. That is as it must be if it
// has come due since we listed it. Nothing was written either if it has only just begun, or
// was purged; else somebody has lost something.
func (s *search) keyless(epoch retention.Epoch, written bool, purged func() bool) {
	if p := s.policy(epoch); p != nil && !epoch.Deadline(p.Window).After(time.Now()) {
		return
	}
	if written || time.Since(epoch.StartTime()) > settling && !purged() {
		s.incomplete()
	}
}

// judge finds out whether keys of an epoch or its directory are lost, or may be.
func (s *search) judge(d *Directory, keys []*keyring.Key) {
	for _, id := range d.written() {
		if !slices.ContainsFunc(keys, func(k *keyring.Key) bool { return k.ID == id }) {
			s.incomplete() // what was written under a key that is lost
		}
	}
	if d.Damaged || d.Successor {
		s.incomplete() // what was written before the present keys may be lost with its own
	}
	for _, key := range keys {
		if key.Successor {
			s.incomplete()
		}
		if d.Keys[key.ID] == 0 && time.Since(key.Minted).Abs() > settling && s.deadline(key).After(time.Now()) { // minted later than now: by a clock that is ahead
			s.incomplete() // the directory is lost, and with it who has written
		}
	}
}

type writerOf struct {
	key seal.KeyID
	id  seal.WriterID
}

func (s *search) manifests(ctx context.Context, d Directory, keys []*keyring.Key) map[writerOf]manifest {
	manifests := map[writerOf]manifest{}
	for i := range d.Manifests {
		f := &d.Manifests[i]
		for _, key := range keys {
			if key.ID != f.Place.Key {
				continue
			}
			payload, err := s.openFrame(ctx, key, f)
			if err == nil {
				var m manifest
				if m, err = parseManifest(payload, key.Shards); err == nil {
					manifests[writerOf{key.ID, f.Writer}] = m
				}
			}
			if err != nil {
				s.incomplete()
			}
		}
	}
	return manifests
}

func (s *search) incomplete() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complete = false
}
