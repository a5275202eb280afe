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

// Evidence gives the sealed frames of an epoch that hold a record that q asks
// for, as anybody with the data Redis could have copied them. It opens frames to
// find the right ones, and hands none of their content out.
func (r *Reader) Evidence(ctx context.Context, epoch retention.Epoch, q Query) ([]seal.Frame, error) {
	s := &search{Reader: r, query: q, found: map[record.ID]hit{}}
	keys, err := r.keys.Keys(ctx, epoch)
	if err != nil {
		return nil, fmt.Errorf("gathering evidence: %w", err)
	}
	var evidence []seal.Frame
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
		for _, f := range slices.Concat(chunks...) {
			payload, err := s.openFrame(ctx, key, &f)
			if err != nil {
				continue
			}
			holds := s.holds(key, f.Place.View, payload)
			clear(payload)
			if !holds {
				continue
			}
			// A copy of its own: the frame's bytes are part of a whole answer of Redis.
			kept, err := seal.ParseFrame(f.Place, bytes.Clone(f.Bytes()))
			if err != nil {
				return nil, fmt.Errorf("gathering evidence: %w", err)
			}
			evidence = append(evidence, kept)
		}
	}
	return evidence, nil
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
	for _, frames := range chunks {
		remains += len(frames)
	}
	heads, err := r.store.Heads(ctx, places)
	if err != nil {
		return 0, fmt.Errorf("looking for remains: %w", err)
	}
	for _, head := range heads {
		if head.Bytes != nil {
			remains++
		}
	}
	return remains, nil
}
