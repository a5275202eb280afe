package store

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// Evidence is something sealed that holds a record, as anybody could have copied it
// who has the data Redis, or Kafka.
type Evidence struct {
	seal.Frame
	// Wrap has the frame key of what was sealed at the edge, as it lies in Kafka beside
	// it. What ingest has sealed has its frame key in the keyring, and none here.
	Wrap seal.Wrap
}

// Evidence gives what is sealed of the records of an epoch that q asks for, in
// frames: of what was sealed at the edge both the segment that Kafka has and the
// frame around it. It opens frames to find the right ones, and hands none of their
// content out.
func (r *Reader) Evidence(ctx context.Context, epoch retention.Epoch, q Query) ([]Evidence, error) {
	s := &search{Reader: r, query: q}
	keys, err := r.keys.Keys(ctx, epoch)
	if err != nil {
		return nil, fmt.Errorf("gathering evidence: %w", err)
	}
	var evidence []Evidence
	for _, key := range keys {
		view, shards := layoutOf(key.Public).shardsOf(q)
		places := make([]seal.Place, len(shards))
		for i, shard := range shards {
			places[i] = seal.Place{Epoch: epoch, Key: key.ID, View: view, Shard: shard}
		}
		chunks, err := r.store.Chunks(ctx, places)
		if err != nil {
			return nil, fmt.Errorf("gathering evidence: %w", err)
		}
		for _, chunk := range chunks {
			evidence = append(evidence, s.evidence(ctx, key, chunk.Frames)...)
		}
	}
	return evidence, nil
}

// evidence is that of one chunk. What does not open proves nothing.
func (s *search) evidence(ctx context.Context, key *keyring.Key, frames []seal.Frame) (evidence []Evidence) {
	edge := &segments{}
	var around []*seal.Frame // the frame of each row of edge
	for i := range frames {
		f := &frames[i]
		payload, err := s.openFrame(ctx, key, f)
		if err != nil {
			continue
		}
		if isEdge(payload) { // sealed, and kept until all wraps of the chunk are known
			_ = edge.add(payload)
			for len(around) < len(edge.rows) {
				around = append(around, f)
			}
			continue
		}
		if s.holds(key, f.Place.View, payload) {
			evidence = append(evidence, Evidence{Frame: f.Clone()})
		}
		clear(payload)
	}
	var last *seal.Frame
	for i, row := range edge.rows {
		segment, ok := s.segment(key, around[i].Place, edge.wraps[row.wrap], row.segment)
		if !ok {
			continue
		}
		evidence = append(evidence, segment)
		if around[i] != last {
			evidence = append(evidence, Evidence{Frame: around[i].Clone()})
			last = around[i]
		}
	}
	return evidence
}

// segment is one that was sealed at the edge; false where it does not hold what is
// asked for.
func (s *search) segment(key *keyring.Key, place seal.Place, wrap seal.Wrap, sealed []byte) (Evidence, bool) {
	place.View = place.View.AtEdge()
	frame, err := seal.ParseSegment(place, wrap.Writer, sealed)
	if err != nil {
		return Evidence{}, false
	}
	reader, err := s.keys.EdgeReader(key, wrap)
	if err != nil {
		return Evidence{}, false
	}
	payload, err := reader.Open(&frame)
	if err != nil {
		return Evidence{}, false
	}
	defer clear(payload)
	wrap.Encapsulated = bytes.Clone(wrap.Encapsulated)
	return Evidence{Frame: frame, Wrap: wrap}, s.holds(key, place.View.Stored(), payload)
}

// holds reports whether a frame's payload has a record that is asked for, or
// mentions the account.
func (s *search) holds(key *keyring.Key, view seal.View, payload []byte) (holds bool) {
	if view == seal.ByAccount {
		_, subject := layoutOf(key.Public).account([]byte(s.query.Account))
		err := record.Mentioned(payload, subject, func(uint32) { holds = true })
		return err == nil && holds
	}
	selection := record.Selection{Prefix: s.query.Prefix, Account: s.query.Account}
	records, err := selection.Append(nil, payload)
	return err == nil && slices.ContainsFunc(records, func(r record.Record) bool {
		return r.Time >= s.query.From.UnixMilli() && (s.query.To.IsZero() || r.Time <= s.query.To.UnixMilli())
	})
}

// Remains counts what the store still has of an epoch at the given places and in
// its directory, whatever any deadline says.
func (r *Reader) Remains(ctx context.Context, epoch retention.Epoch, places []seal.Place) (int, error) {
	directories, err := r.store.Directories(ctx, []retention.Epoch{epoch})
	if err != nil {
		return 0, fmt.Errorf("looking for remains: %w", err)
	}
	remains := len(directories[0].Keys) + len(directories[0].Manifests)
	chunks, err := r.store.Chunks(ctx, places)
	if err != nil {
		return 0, fmt.Errorf("looking for remains: %w", err)
	}
	for _, chunk := range chunks {
		remains += len(chunk.Frames)
		if chunk.Head.Bytes != nil {
			remains++
		}
	}
	return remains, nil
}
