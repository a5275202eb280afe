package store

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

//go:embed claim.lua
var claimSource string

//go:embed put.lua
var putSource string

//go:embed flip.lua
var flipSource string

//go:embed tidy.lua
var tidySource string

//go:embed remove.lua
var removeSource string

// The generations of several shards share a bucket, one hash, so that there are few
// keys to expire: with 196,608 keys Redis's active expiry left most of 2,048 due ones
// for minutes.
//
//	mayfly:{policy/start+length/key/view/n}/cold     hash: shards 16n to 16n+15
//	  c/shard                    claim: generation, owner, until when (Unix ms; 0: ended)
//	  h/shard                    generation, space, sealed head
//	  b/shard/generation/name    sealed block
const shardsPerBucket = 16

func bucketKey(epoch retention.Epoch, key seal.KeyID, view seal.View, bucket uint32) string {
	return groupKey(epoch, key, view, bucket) + "/cold"
}

func bucketOf(p seal.Place) string { return bucketKey(p.Epoch, p.Key, p.View, p.Shard/shardsPerBucket) }

func claimField(p seal.Place) string { return "c/" + strconv.FormatUint(uint64(p.Shard), 10) }
func headField(p seal.Place) string  { return "h/" + strconv.FormatUint(uint64(p.Shard), 10) }

func blockPrefix(p seal.Place) string { return "b/" + strconv.FormatUint(uint64(p.Shard), 10) + "/" }

func blockField(p seal.Place, generation uint64, name string) string {
	return blockPrefix(p) + strconv.FormatUint(generation, 10) + "/" + name
}

// parseHead reads what flip.lua wrote.
func parseHead(answer *redis.StringCmd) (Head, error) {
	stored, err := answer.Bytes()
	if errors.Is(err, redis.Nil) {
		return Head{}, nil
	} else if err != nil {
		return Head{}, err
	}
	number, sealed, _ := bytes.Cut(stored, []byte(" "))
	generation, err := strconv.ParseUint(string(number), 10, 64)
	if err != nil {
		generation, sealed = 0, stored // damaged: does not open, which the reader reports
	}
	return Head{Generation: generation, Bytes: sealed}, nil
}

// Blocks implements Store.
func (r *Redis) Blocks(ctx context.Context, refs []BlockRef) ([][]byte, error) {
	answers := make([]*redis.StringCmd, len(refs))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, ref := range refs {
			answers[i] = p.HGet(ctx, bucketOf(ref.Place), blockField(ref.Place, ref.Generation, ref.Name))
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("reading blocks: %w", err)
	}
	blocks := make([][]byte, len(refs))
	for i := range refs {
		block, err := answers[i].Bytes()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("reading blocks: %w", err)
		}
		blocks[i] = block
	}
	return blocks, nil
}

// Claim implements Store.
func (r *Redis) Claim(ctx context.Context, place seal.Place, deadline time.Time, owner string) (Claim, error) {
	answer, err := r.client.Eval(ctx, claimSource, []string{bucketOf(place)},
		deadline.UnixMilli(), claimField(place), owner, lease.Milliseconds()).Int64()
	if err != nil {
		return Claim{}, fmt.Errorf("claiming a generation: %w", err)
	}
	if answer <= 0 {
		return Claim{}, refusal(answer)
	}
	return Claim{Place: place, Deadline: deadline, Owner: owner, Generation: uint64(answer)}, nil
}

var errBlockMissing = errors.New("a block of the new generation is missing")

func refusal(answer int64) error {
	switch answer {
	case -1:
		return keyring.ErrDestroyed
	case -2:
		return errBlockMissing
	}
	return ErrClaimed
}

// putSize is about how many bytes go into one script, which nothing interrupts.
const putSize = 256 << 10

// Put implements Store.
func (r *Redis) Put(ctx context.Context, claim Claim, blocks []Block) error {
	for first := true; first || len(blocks) > 0; first = false {
		args := []any{
			claim.Deadline.UnixMilli(), claimField(claim.Place), claim.Owner, lease.Milliseconds(),
			strconv.FormatUint(claim.Generation, 10),
		}
		n, size := 0, 0
		for n < len(blocks) && size < putSize {
			args = append(args, blockField(claim.Place, claim.Generation, blocks[n].Name), blocks[n].Bytes)
			size += len(blocks[n].Bytes)
			n++
		}
		blocks = blocks[n:]
		if err := r.claimed(ctx, putSource, claim, args); err != nil {
			return fmt.Errorf("storing blocks: %w", err)
		}
	}
	return nil
}

func (r *Redis) claimed(ctx context.Context, source string, claim Claim, args []any) error {
	answer, err := r.client.Eval(ctx, source, []string{bucketOf(claim.Place)}, args...).Int64()
	if err == nil && answer != 1 {
		err = refusal(answer)
	}
	return err
}

// Flip implements Store.
func (r *Redis) Flip(ctx context.Context, claim Claim, head []byte, names []string) error {
	args := []any{
		claim.Deadline.UnixMilli(), claimField(claim.Place), claim.Owner,
		strconv.FormatUint(claim.Generation, 10), headField(claim.Place), head,
	}
	for _, name := range names {
		args = append(args, blockField(claim.Place, claim.Generation, name))
	}
	if err := r.claimed(ctx, flipSource, claim, args); err != nil {
		return fmt.Errorf("making a generation the current one: %w", err)
	}
	return nil
}

// Release implements Store.
func (r *Redis) Release(ctx context.Context, claim Claim) error {
	args := []any{
		claim.Deadline.UnixMilli(), claimField(claim.Place), claim.Owner, 0, strconv.FormatUint(claim.Generation, 10),
	}
	if err := r.claimed(ctx, putSource, claim, args); err != nil {
		return fmt.Errorf("releasing a claim: %w", err)
	}
	return nil
}

// Tidy implements Store.
func (r *Redis) Tidy(ctx context.Context, place seal.Place, current Head) error {
	bucket := bucketOf(place)
	fields, err := r.client.HKeys(ctx, bucket).Result()
	if err != nil {
		return fmt.Errorf("listing old blocks: %w", err)
	}
	var old []string
	for _, field := range fields {
		rest, ours := strings.CutPrefix(field, blockPrefix(place))
		number, _, _ := strings.Cut(rest, "/")
		if generation, err := strconv.ParseUint(number, 10, 64); ours && err == nil && generation < current.Generation {
			old = append(old, field)
		}
	}
	for some := range slices.Chunk(old, keysAtOnce) {
		args := []any{headField(place), current.stored()}
		for _, field := range some {
			args = append(args, field)
		}
		if err := r.under(ctx, tidySource, []string{bucket}, args); err != nil {
			return fmt.Errorf("removing old blocks: %w", err)
		}
	}
	return nil
}

// Frames implements Store.
func (r *Redis) Frames(ctx context.Context, place seal.Place, from, n int) (chunk Chunk, err error) {
	var list *redis.StringSliceCmd
	var head *redis.StringCmd
	_, err = r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		list = p.LRange(ctx, chunkKey(place), int64(from), int64(from+n-1))
		head = p.HGet(ctx, bucketOf(place), headField(place))
		return nil
	})
	if err == nil || errors.Is(err, redis.Nil) { // no head
		if chunk.Frames, err = parseFrames(place, list); err == nil {
			chunk.Head, err = parseHead(head)
		}
	}
	if err != nil {
		return Chunk{}, fmt.Errorf("reading frames: %w", err)
	}
	return chunk, nil
}

// Remove implements Store: whatever others have appended or removed meanwhile, nothing
// else goes.
func (r *Redis) Remove(ctx context.Context, place seal.Place, current Head, covered map[seal.WriterID]uint64) (int, error) {
	args := []any{headField(place), current.stored(), 0, putSize}
	for writer, frames := range covered {
		args = append(args, writer[:], frames)
	}
	for {
		answer, err := r.client.Eval(ctx, removeSource, []string{bucketOf(place), chunkKey(place)}, args...).Int64Slice()
		if err == nil && len(answer) != 2 {
			err = ErrClaimed
		}
		if err != nil {
			return 0, fmt.Errorf("removing compacted frames: %w", err)
		}
		if args[2] = answer[0]; answer[1] == 1 {
			return int(answer[0]), nil
		}
	}
}

// under runs a script that does nothing unless a head is the current one.
func (r *Redis) under(ctx context.Context, source string, keys []string, args []any) error {
	answer, err := r.client.Eval(ctx, source, keys, args...).Int64()
	if err == nil && answer != 1 {
		err = ErrClaimed
	}
	return err
}

// stored is a head as its field holds it.
func (h Head) stored() []byte {
	return append(strconv.AppendUint(nil, h.Generation, 10), append([]byte(" "), h.Bytes...)...)
}
