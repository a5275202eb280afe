package guarantee

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// An epoch of 15 minutes at 174,000 events a second has 157 million, and 1,567 shards.
// Compacted, a shard has about so many blocks of 12 KiB in each view: 13.5 bytes an event.
const (
	shardEvents   = 100_000
	addressBlocks = 97
	accountBlocks = 13
)

// purgeGrowth measures what it takes to purge compacted epochs of several sizes when they
// are due, and what the server makes others wait meanwhile: with the warden, and without it.
func purgeGrowth(b *testing.B) {
	fmt.Printf("\n%11s %9s  %-8s %14s %20s\n", "events", "MB", "purged", "gone after", "others wait, worst")
	for _, shards := range []uint32{16, 157, 1567} {
		for _, byWarden := range []bool{true, false} {
			purgeDue(b, shards, byWarden)
		}
	}
}

func purgeDue(b *testing.B, shards uint32, byWarden bool) {
	ctx := b.Context()
	server := redistest.Start(b)
	client, data := server.Client(b), store.NewRedis(server.Client(b))
	filling := 3*time.Second + time.Duration(shards)*20*time.Millisecond
	deadline := time.Now().Add(filling)
	key := keyring.Public{Epoch: retention.Epoch{Policy: "p", Length: 900_000}, Shards: shards, Deadline: deadline}
	fillEpoch(b, data, key)
	memory := numberIn(b, client, "used_memory")
	if time.Now().After(deadline.Add(-time.Second)) {
		b.Fatalf("an epoch of %d shards takes more than %v to fill", shards, filling)
	}
	time.Sleep(time.Until(deadline.Add(-time.Second / 2)))
	waits := make(chan []time.Duration, 1)
	probing, done := context.WithCancel(ctx)
	go func() { waits <- probe(probing, server.Client(b)) }()
	time.Sleep(time.Until(deadline.Add(2 * time.Millisecond))) // key destroyed meanwhile
	name := "by Redis"
	if byWarden {
		name = "unlinked"
		if err := data.Unlink(ctx, key.Epoch, []keyring.Public{key}); err != nil {
			b.Fatal(err)
		}
	}
	for client.DBSize(ctx).Val() > 0 {
		time.Sleep(time.Millisecond)
	}
	gone := time.Since(deadline)
	time.Sleep(200 * time.Millisecond) // threads of the server still free it
	done()
	worst := slices.Max(<-waits)
	server.Kill()
	fmt.Printf("%11d %9.0f  %-8s %11.1f ms %17.1f ms\n", int(shards)*shardEvents, memory/1e6, name, gone.Seconds()*1e3, worst.Seconds()*1e3)
	if byWarden {
		b.ReportMetric(worst.Seconds()*1e3, fmt.Sprintf("ms-waited-%d", shards))
	}
}

// fillEpoch stores what compaction leaves of an epoch, but for what is in the blocks.
func fillEpoch(b *testing.B, data *store.Redis, key keyring.Public) {
	b.Helper()
	ctx, random := b.Context(), make([]byte, 12<<10-64)
	_, _ = rand.Read(random) // never fails
	if err := data.Open(ctx, key); err != nil {
		b.Fatal(err)
	}
	for view, n := range map[seal.View]int{seal.ByAddress: addressBlocks, seal.ByAccount: accountBlocks} {
		blocks, names := make([]store.Block, n), make([]string, n)
		for i := range blocks {
			names[i] = fmt.Sprintf("%016x", i)
			blocks[i] = store.Block{Name: names[i], Bytes: random}
		}
		for shard := range key.Shards {
			place := seal.Place{Epoch: key.Epoch, Key: key.ID, View: view, Shard: shard}
			claim, err := data.Claim(ctx, place, key.Deadline, "bench")
			if err == nil {
				err = data.Put(ctx, claim, blocks)
			}
			if err == nil {
				err = data.Flip(ctx, claim, random[:2<<10], names)
			}
			if err != nil {
				b.Fatalf("filling an epoch: %v", err)
			}
		}
	}
}

func numberIn(b *testing.B, client *redis.Client, name string) (value float64) {
	b.Helper()
	info, err := client.InfoMap(b.Context(), "memory").Result()
	if err == nil {
		_, err = fmt.Sscan(info["Memory"][name], &value)
	}
	if err != nil {
		b.Fatalf("asking Redis for its %s: %v", name, err)
	}
	return value
}
