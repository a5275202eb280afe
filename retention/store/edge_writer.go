package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
	"mayfly/retention/tally"
)

// What was sealed at the edge stays sealed in here: a Writer can't open it. It
// puts the segments of a chunk, each with its place in Kafka, into frames of its own.
// So a segment's identity comes from ingest alone, its loss shows in ingest's
// manifest like any other, and it opens only where both seals hold.

// edgeFrame is about the most bytes of segments in one frame.
const edgeFrame = 256 << 10

// edgeSealer writes under the epoch key that edge batches were sealed to, which
// need not be the newest: that key's layout holds for them.
type edgeSealer struct {
	*sealer
	sent map[sentWrap]struct{} // wraps that the chunk has already
}

type edgeKey struct {
	epoch retention.Epoch
	key   seal.KeyID
}

type sentWrap struct {
	chunk slot
	wrap  seal.WrapID
}

type slot struct {
	view  seal.View
	shard uint32
}

// edgeGroup is what is sealed together: the batches under one epoch key.
type edgeGroup struct {
	sealer  *edgeSealer
	batches []Batch
}

// edgeGroups finds the writers of edge batches. Batches that have none are
// counted in sealed.
func (w *Writer) edgeGroups(ctx context.Context, sealed *Sealed, batches []Batch, now time.Time) ([]edgeGroup, error) {
	of := map[edgeKey][]Batch{}
	var order []edgeKey
	for _, b := range batches {
		k := edgeKey{b.Epoch, b.Edge.Key}
		if of[k] == nil {
			order = append(order, k)
		}
		of[k] = append(of[k], b)
	}
	var groups []edgeGroup
	for _, k := range order {
		s, err := w.edgeSealer(ctx, k, now)
		lost, over := errors.Is(err, keyring.ErrNoKey), errors.Is(err, keyring.ErrDestroyed) || errors.Is(err, keyring.ErrNotBegun)
		switch {
		case err == nil:
			groups = append(groups, edgeGroup{s, of[k]})
		case (lost || over) && w.ring.Purged(ctx, k.epoch):
			sealed.Purged += events(of[k])
			sealed.lose(&of[k][0], tally.Counts{Expired: int64(events(of[k]))})
		case lost:
			sealed.Unreadable += events(of[k])
			sealed.lose(&of[k][0], tally.Counts{Rejected: int64(events(of[k]))})
		case over: // by the nodes' clocks alone, which may be wrong
			sealed.Waiting = append(sealed.Waiting, of[k]...)
			sealed.Lacking = fmt.Errorf("sealing for epoch %v: %w", k.epoch, err)
		default:
			return nil, fmt.Errorf("sealing for epoch %v: %w", k.epoch, err)
		}
	}
	return groups, nil
}

func events(batches []Batch) (n int) {
	for i := range batches {
		n += batches[i].Events()
	}
	return n
}

// edgeSealer gives the writer for an epoch key, with its wrap in the keyring.
// ErrNoKey: no node has that key, which is never minted later, as the batch was
// sealed to it; waiting would let one false message hold up everything.
func (w *Writer) edgeSealer(ctx context.Context, k edgeKey, now time.Time) (*edgeSealer, error) {
	keys, err := w.ring.Public(ctx, k.epoch)
	if err != nil {
		if errors.Is(err, keyring.ErrNoKey) {
			delete(w.edge, k)
		}
		return nil, err
	}
	i := slices.IndexFunc(keys, func(p keyring.Public) bool { return p.ID == k.key })
	if i < 0 {
		delete(w.edge, k)
		return nil, keyring.ErrNoKey
	}
	s := w.edge[k]
	if s == nil {
		writer, err := seal.NewWriter(k.epoch, k.key, keys[i].Key)
		if err != nil {
			return nil, err
		}
		s = &edgeSealer{
			sealer: &sealer{Writer: writer, key: keys[i], layout: layoutOf(keys[i]), made: now},
			sent:   map[sentWrap]struct{}{},
		}
	}
	if err := w.ring.PublishWrap(ctx, s.key, s.Wrap()); err != nil {
		return nil, err
	}
	w.edge[k] = s
	return s, nil
}

// edgeRow is one segment to be written.
type edgeRow struct {
	batch   *EdgeBatch
	wrap    seal.WrapID
	segment []byte
}

// sealEdge adds a group to sealed.
func (w *Writer) sealEdge(sealed *Sealed, of edgeGroup) {
	s, rows, count := of.sealer, map[slot][]edgeRow{}, 0
	for i := range of.batches {
		b := of.batches[i].Edge
		if !s.lays(b) {
			sealed.Unreadable += b.Events
			sealed.lose(&of.batches[i], tally.Counts{Rejected: int64(b.Events)})
			continue
		}
		count += b.Events
		w.reading.Stored(b.Epoch, of.batches[i].Deadline, tally.Source{Topic: b.ID.Topic, Partition: b.ID.Partition}, b.ID.Offset, int64(b.Events))
		wrap := b.Wrap.ID()
		for j := range b.Frames {
			f := &b.Frames[j]
			chunk := slot{f.Place.View.Stored(), f.Place.Shard}
			rows[chunk] = append(rows[chunk], edgeRow{b, wrap, f.Segment()})
		}
	}
	if count == 0 {
		return
	}
	g := sealedGroup{sealer: s.sealer, deadline: earlier(s.key.Deadline, of.batches[0].Deadline), records: count}
	for _, chunk := range slices.SortedFunc(maps.Keys(rows), func(a, b slot) int {
		return cmp.Or(cmp.Compare(a.view, b.view), cmp.Compare(a.shard, b.shard))
	}) {
		for rest := rows[chunk]; len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && (n == 0 || size+len(rest[n].segment) <= edgeFrame) {
				size += len(rest[n].segment)
				n++
			}
			w.payload = appendEdgeRows(w.payload[:0], rest[:n], func(wrap seal.WrapID) bool { return s.first(chunk, wrap) })
			g.frames = append(g.frames, s.Seal(chunk.view, chunk.shard, w.payload))
			rest = rest[n:]
		}
	}
	s.records += uint64(count)
	g.manifest = w.manifest(s.sealer)
	sealed.groups = append(sealed.groups, g)
	sealed.Stored += count
}

// lays reports whether the key has the shards that a batch names.
func (s *edgeSealer) lays(b *EdgeBatch) bool {
	return !slices.ContainsFunc(b.Frames, func(f seal.Frame) bool { return f.Place.Shard >= s.key.Shards })
}

// mostSent bounds what is remembered of wraps, 10 MB: whoever may write to the topic can
// make any number. A relay makes one an epoch.
const mostSent = 1 << 17

// first reports, once, that a chunk has not got a wrap yet; again only where too many others
// have come since, which costs the chunk its bytes once more and nothing else.
func (s *edgeSealer) first(chunk slot, wrap seal.WrapID) bool {
	sent := sentWrap{chunk, wrap}
	_, there := s.sent[sent]
	if !there && len(s.sent) >= mostSent {
		clear(s.sent)
	}
	s.sent[sent] = struct{}{}
	return !there
}
