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
	"unsafe"

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
// Cluster alike. Each command touches one key, or two of one hash tag; these spread the shards.
//
//	mayfly:{policy/start+length}                     hash: directory of the epoch
//	mayfly:{policy/start+length/key/view/n}/shard    list: frames of the chunk, shards 16n to 16n+15
//	mayfly:{policy/start+length/key/view/n}/cold     hash: generations of these shards
//
// A chunk and its generation are on one server, whose replica follows it in order:
// a failover that loses a generation has not lost the frames that went into it.
//
// Appending costs one RPUSHX per frame; only where that answers 0 the chunk is
// created, list and expiry in one script, so that at no instant there is a key
// without expiry.
type Redis struct {
	client redis.UniversalClient
	names  chunkNames
}

// NewRedis makes a store of a client.
func NewRedis(client redis.UniversalClient) *Redis { return &Redis{client: client} }

func directoryKey(epoch retention.Epoch) string { return "mayfly:{" + epoch.String() + "}" }

func chunkKey(p seal.Place) string {
	return groupKey(p.Epoch, p.Key, p.View, p.Shard/shardsPerBucket) + "/" + strconv.FormatUint(uint64(p.Shard), 10)
}

// groupKey is what the names of the chunks and the bucket of 16 shards begin with.
func groupKey(epoch retention.Epoch, key seal.KeyID, view seal.View, group uint32) string {
	return "mayfly:{" + epoch.String() + "/" + key.String() + "/" + view.String() + "/" + strconv.FormatUint(uint64(group), 10) + "}"
}

// Directory fields: "key <id>" → shards and successorMark, "manifest <key> <writer>" → frame.
const (
	keyField      = "key "
	manifestField = "manifest "
	successorMark = " successor"
)

// Open implements Store.
func (r *Redis) Open(ctx context.Context, key keyring.Public) error {
	value := strconv.FormatUint(uint64(key.Shards), 10)
	if key.Successor {
		value += successorMark
	}
	return r.putDirectory(ctx, key.Epoch, key.Deadline, keyField+key.ID.String(), value)
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
	rest, err := r.push(ctx, frames)
	if err == nil {
		rest, err = r.create(ctx, deadline, rest)
	}
	if err != nil {
		return &Partial{Rest: rest, Err: err}
	}
	field := manifestField + manifest.Place.Key.String() + " " + manifest.Writer.String()
	err = r.putDirectory(ctx, manifest.Place.Epoch, deadline, field, manifest.Bytes())
	if err != nil {
		return &Partial{Err: err}
	}
	return nil
}

// push appends frames to chunks that exist and returns the others.
func (r *Redis) push(ctx context.Context, frames []seal.Frame) ([]seal.Frame, error) {
	pushed := make([]*redis.IntCmd, len(frames))
	// As Pipeliner.RPushX, with names that are there already and all arguments in one
	// slice: 3 allocations a frame instead of 12.
	const each = 3
	arguments := make([]any, each*len(frames))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range frames {
			a := arguments[each*i : each*(i+1) : each*(i+1)]
			a[0], a[1], a[2] = "rpushx", r.names.of(frames[i].Place), frames[i].Bytes()
			pushed[i] = redis.NewIntCmd(ctx, a...)
			if err := p.Process(ctx, pushed[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("appending %d frames: %w", len(frames), err)
	}
	var rest []seal.Frame
	for i, answer := range pushed {
		if answer.Err() != nil || answer.Val() == 0 {
			rest = append(rest, frames[i])
		}
	}
	return rest, err
}

// create makes the chunks of frames, with their expiry, and returns the frames
// whose chunk could not be made.
func (r *Redis) create(ctx context.Context, deadline time.Time, frames []seal.Frame) ([]seal.Frame, error) {
	created := make([]*redis.Cmd, len(frames))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i := range frames {
			created[i] = p.Eval(ctx, createSource, []string{chunkKey(frames[i].Place)}, deadline.UnixMilli(), frames[i].Bytes())
		}
		return nil
	})
	if err == nil {
		return nil, nil
	}
	var rest []seal.Frame
	for i, answer := range created {
		if answer.Err() != nil {
			rest = append(rest, frames[i])
		}
	}
	return rest, fmt.Errorf("creating %d chunks: %w", len(frames), err)
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
		found[i] = parseDirectory(epoch, answers[i].Val())
	}
	return found, nil
}

// parseDirectory leaves out what it can't read and says so: damage must stop
// neither a look-up nor a purge.
func parseDirectory(epoch retention.Epoch, fields map[string]string) Directory {
	d := Directory{Keys: map[seal.KeyID]uint32{}}
	for field, value := range fields {
		kind, ids, _ := strings.Cut(field, " ")
		id, _, _ := strings.Cut(ids, " ")
		key, err := seal.ParseKeyID(id)
		switch {
		case err != nil:
		case kind+" " == keyField:
			var shards uint64
			count, successor := strings.CutSuffix(value, successorMark)
			shards, err = strconv.ParseUint(count, 10, 32)
			if err == nil && shards <= keyring.MaxShards {
				d.Successor = d.Successor || successor
				d.Keys[key] = uint32(shards)
				continue
			}
		case kind+" " == manifestField:
			var frame seal.Frame
			frame, err = seal.ParseFrame(seal.Place{Epoch: epoch, Key: key, View: seal.Manifest}, []byte(value))
			if err == nil {
				d.Manifests = append(d.Manifests, frame)
				continue
			}
		}
		d.Damaged = true
	}
	return d
}

// Chunks implements Store: one server has a chunk and its head, and carries a pipeline
// out in order.
func (r *Redis) Chunks(ctx context.Context, places []seal.Place) ([]Chunk, error) {
	lists, heads := make([]*redis.StringSliceCmd, len(places)), make([]*redis.StringCmd, len(places))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, place := range places {
			lists[i] = p.LRange(ctx, chunkKey(place), 0, -1)
			heads[i] = p.HGet(ctx, bucketOf(place), headField(place))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) { // no head
		return nil, fmt.Errorf("reading chunks: %w", err)
	}
	chunks := make([]Chunk, len(places))
	for i, place := range places {
		var err error
		if chunks[i].Frames, err = parseFrames(place, lists[i]); err == nil {
			chunks[i].Head, err = parseHead(heads[i])
		}
		if err != nil {
			return nil, fmt.Errorf("reading chunks: %w", err)
		}
	}
	return chunks, nil
}

// parseFrames makes frames of what Redis answered. They share the memory of the answer,
// which nobody changes: a copy of a full shard took 1.4 of the 20 ms of CPU of a look-up.
func parseFrames(place seal.Place, answer *redis.StringSliceCmd) ([]seal.Frame, error) {
	list, err := answer.Result()
	frames := make([]seal.Frame, 0, len(list))
	for _, stored := range list {
		frame, err := seal.ParseFrame(place, unsafe.Slice(unsafe.StringData(stored), len(stored)))
		if err != nil {
			frame = seal.Frame{Place: place} // stays in the answer: the reader reports it
		}
		frames = append(frames, frame)
	}
	return frames, err
}

// Shorten implements Store.
func (r *Redis) Shorten(ctx context.Context, key keyring.Public, deadline time.Time) error {
	for names := range slices.Chunk(append(chunkKeys(key.Epoch, key.ID, key.Shards), directoryKey(key.Epoch)), keysAtOnce) {
		_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, name := range names {
				p.Do(ctx, "PEXPIREAT", name, deadline.UnixMilli(), "LT")
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("shortening epoch %v: %w", key.Epoch, err)
		}
	}
	return nil
}

// keysAtOnce is how many keys go into one pipeline: short enough that the
// server serves others in between.
const keysAtOnce = 256

// chunkKeys names everything that can be stored under a key, hot and cold.
func chunkKeys(epoch retention.Epoch, key seal.KeyID, shards uint32) []string {
	names := make([]string, 0, len(seal.Views)*int(shards))
	for _, view := range seal.Views {
		for s := range shards {
			names = append(names, chunkKey(seal.Place{Epoch: epoch, Key: key, View: view, Shard: s}))
		}
		for bucket := range (shards + shardsPerBucket - 1) / shardsPerBucket {
			names = append(names, bucketKey(epoch, key, view, bucket))
		}
	}
	return names
}

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
	for id, n := range shards {
		for names := range slices.Chunk(chunkKeys(epoch, id, n), keysAtOnce) {
			if err := r.unlink(ctx, names); err != nil {
				return fmt.Errorf("unlinking epoch %v: %w", epoch, err)
			}
		}
	}
	// Last: after a crash it still names the chunks.
	if err := r.unlink(ctx, []string{directoryKey(epoch)}); err != nil {
		return fmt.Errorf("unlinking the directory of epoch %v: %w", epoch, err)
	}
	return nil
}

func (r *Redis) unlink(ctx context.Context, names []string) error {
	left := make([]*redis.IntCmd, len(names))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			p.Unlink(ctx, name)
			left[i] = p.Exists(ctx, name)
		}
		return nil
	})
	for _, exists := range left {
		if err == nil && exists.Val() != 0 {
			err = errors.New("a key was written meanwhile")
		}
	}
	return err
}

// Check implements Store.
func (r *Redis) Check(ctx context.Context) (Health, error) {
	var mu sync.Mutex
	var identities []string
	health := Health{Ahead: -1 << 62, Behind: -1 << 62}
	ask := func(ctx context.Context, client *redis.Client) error {
		asked := time.Now()
		theirs, err := client.Time(ctx).Result()
		if err != nil {
			return err
		}
		took := time.Since(asked)
		info, err := client.InfoMap(ctx).Result()
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		identities = append(identities, info["Server"]["run_id"]+"/"+info["Replication"]["master_replid"])
		ahead := theirs.Sub(asked.Add(took / 2)) // a slow answer is no wrong clock
		health.Ahead, health.Behind = max(health.Ahead, ahead), max(health.Behind, -ahead)
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
