package store

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

//go:embed create.lua
var createSource string

//go:embed directory.lua
var directorySource string

// Redis is a Store in Redis or Valkey 7.0 or newer: one server, Sentinel or
// Cluster alike. Each command touches one key, and hash tags spread the chunks.
//
//	mayfly:{policy/start+length}                     hash: directory of the epoch
//	mayfly:{policy/start+length/key/view/shard}      list: frames of the chunk
//
// Appending costs one RPUSHX per frame; only where that answers 0 the chunk is
// created, list and expiry in one script, so that at no instant there is a key
// without expiry.
type Redis struct{ client redis.UniversalClient }

// NewRedis makes a store of a client.
func NewRedis(client redis.UniversalClient) *Redis { return &Redis{client} }

func directoryKey(epoch retention.Epoch) string { return "mayfly:{" + epoch.String() + "}" }

func chunkKey(p seal.Place) string {
	return "mayfly:{" + p.Epoch.String() + "/" + p.Key.String() + "/" + p.View.String() + "/" +
		strconv.FormatUint(uint64(p.Shard), 10) + "}"
}

// Directory fields: "key <id>" → shards, "manifest <key> <writer>" → frame.
const (
	keyField      = "key "
	manifestField = "manifest "
)

// Open implements Store.
func (r *Redis) Open(ctx context.Context, key keyring.Public) error {
	return r.putDirectory(ctx, key.Epoch, key.Deadline, keyField+key.ID.String(), key.Shards)
}

func (r *Redis) putDirectory(ctx context.Context, epoch retention.Epoch, deadline time.Time, field string, value any) error {
	err := r.client.Eval(ctx, directorySource, []string{directoryKey(epoch)}, deadline.UnixMilli(), field, value).Err()
	if err != nil {
		return fmt.Errorf("writing the directory of epoch %v: %w", epoch, err)
	}
	return nil
}

// Append implements Store.
func (r *Redis) Append(ctx context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error {
	pushed := make([]*redis.IntCmd, len(frames))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range frames {
			pushed[i] = p.RPushX(ctx, chunkKey(frames[i].Place), frames[i].Bytes())
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("appending %d frames: %w", len(frames), err)
	}
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range frames {
			if pushed[i].Val() == 0 {
				p.Eval(ctx, createSource, []string{chunkKey(frames[i].Place)}, deadline.UnixMilli(), frames[i].Bytes())
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("creating chunks: %w", err)
	}
	field := manifestField + manifest.Place.Key.String() + " " + manifest.Writer.String()
	return r.putDirectory(ctx, manifest.Place.Epoch, deadline, field, manifest.Bytes())
}

// Directories implements Store.
func (r *Redis) Directories(ctx context.Context, epochs []retention.Epoch) ([]Directory, error) {
	answers := make([]*redis.MapStringStringCmd, len(epochs))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, epoch := range epochs {
			answers[i] = p.HGetAll(ctx, directoryKey(epoch))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading directories: %w", err)
	}
	found := make([]Directory, len(epochs))
	for i, epoch := range epochs {
		if found[i], err = parseDirectory(epoch, answers[i].Val()); err != nil {
			return nil, fmt.Errorf("reading the directory of epoch %v: %w", epoch, err)
		}
	}
	return found, nil
}

func parseDirectory(epoch retention.Epoch, fields map[string]string) (Directory, error) {
	d := Directory{Keys: map[seal.KeyID]uint32{}}
	for field, value := range fields {
		if id, ok := strings.CutPrefix(field, keyField); ok {
			key, err := seal.ParseKeyID(id)
			if err != nil {
				return Directory{}, err
			}
			shards, err := strconv.ParseUint(value, 10, 24)
			if err != nil {
				return Directory{}, errManifest
			}
			d.Keys[key] = uint32(shards)
		} else if ids, ok := strings.CutPrefix(field, manifestField); ok {
			id, _, _ := strings.Cut(ids, " ")
			key, err := seal.ParseKeyID(id)
			if err != nil {
				return Directory{}, err
			}
			frame, err := seal.ParseFrame(seal.Place{Epoch: epoch, Key: key, View: seal.Manifest}, []byte(value))
			if err != nil {
				return Directory{}, err
			}
			d.Manifests = append(d.Manifests, frame)
		}
	}
	return d, nil
}

// Chunks implements Store.
func (r *Redis) Chunks(ctx context.Context, places []seal.Place) ([][]seal.Frame, error) {
	answers := make([]*redis.StringSliceCmd, len(places))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, place := range places {
			answers[i] = p.LRange(ctx, chunkKey(place), 0, -1)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading chunks: %w", err)
	}
	found := make([][]seal.Frame, len(places))
	for i, place := range places {
		for _, stored := range answers[i].Val() {
			frame, err := seal.ParseFrame(place, []byte(stored))
			if err != nil {
				frame = seal.Frame{Place: place} // stays in the answer: the reader reports it
			}
			found[i] = append(found[i], frame)
		}
	}
	return found, nil
}

// unlinkBatch is how many keys go into one pipeline: short enough that the
// server serves others in between.
const unlinkBatch = 256

// Unlink implements Store.
func (r *Redis) Unlink(ctx context.Context, epoch retention.Epoch, keys []keyring.Public) error {
	directories, err := r.Directories(ctx, []retention.Epoch{epoch})
	if err != nil {
		return err
	}
	shards := directories[0].Keys
	for _, key := range keys {
		shards[key.ID] = key.Shards
	}
	var names []string
	for id, n := range shards {
		for _, view := range seal.Views {
			for s := range n {
				names = append(names, chunkKey(seal.Place{Epoch: epoch, Key: id, View: view, Shard: s}))
			}
		}
	}
	names = append(names, directoryKey(epoch)) // last: after a crash it still names the chunks
	for batch := range slices.Chunk(names, unlinkBatch) {
		left := make([]*redis.IntCmd, len(batch))
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, name := range batch {
				p.Unlink(ctx, name)
				left[i] = p.Exists(ctx, name)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("unlinking epoch %v: %w", epoch, err)
		}
		for _, exists := range left {
			if exists.Val() != 0 {
				return fmt.Errorf("unlinking epoch %v: a chunk was written meanwhile", epoch)
			}
		}
	}
	return nil
}

// Check implements Store.
func (r *Redis) Check(ctx context.Context) (Health, error) {
	var mu sync.Mutex
	var identities []string
	health := Health{Ahead: -1 << 62}
	ask := func(ctx context.Context, client *redis.Client) error {
		asked := time.Now()
		theirs, err := client.Time(ctx).Result()
		if err != nil {
			return err
		}
		info, err := client.InfoMap(ctx).Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		identities = append(identities, info["Server"]["run_id"]+"/"+info["Replication"]["master_replid"])
		health.Ahead = max(health.Ahead, theirs.Sub(asked))
		return nil
	}
	var err error
	switch client := r.client.(type) {
	case *redis.ClusterClient:
		err = client.ForEachMaster(ctx, ask)
	case *redis.Client:
		err = ask(ctx, client)
	default:
		err = errors.New("unknown kind of client")
	}
	if err != nil {
		return Health{}, fmt.Errorf("checking redis: %w", err)
	}
	slices.Sort(identities)
	health.Identity = strings.Join(identities, " ")
	return health, nil
}
