package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// BenchmarkCompact compacts a shard again and again, both views, from frames in memory
// to sealed blocks that nobody keeps: the compactor's own CPU without Redis.
func BenchmarkCompact(b *testing.B) {
	for _, ids := range []string{"short8", "uuid"} {
		for _, events := range []int{90_000, 2_200} {
			b.Run(fmt.Sprintf("%s/%d", ids, events), func(b *testing.B) {
				log := &frozen{Memory: store.NewMemory()}
				e := newColdEpoch(b, log, ids, events, 1)
				c := store.NewCompactor(e.reader)
				units, _, err := c.Units(b.Context(), e.epoch)
				if err != nil {
					b.Fatal(err)
				}
				size, cpu := 0, ownCPU()
				b.ReportAllocs()
				for b.Loop() {
					size = 0
					for _, u := range units {
						done, err := c.Compact(b.Context(), u)
						if err != nil {
							b.Fatal(err)
						}
						size += done.BytesOut
					}
				}
				n := float64(events)
				b.ReportMetric(float64((ownCPU()-cpu).Nanoseconds())/float64(b.N)/n, "cpu-ns/event")
				b.ReportMetric(float64(size)/n, "B/event")
			})
		}
	}
}

// frozen is a log of which nothing is ever compacted.
type frozen struct{ *store.Memory }

func (*frozen) Claim(_ context.Context, place seal.Place, deadline time.Time, owner string) (store.Claim, error) {
	return store.Claim{Place: place, Deadline: deadline, Owner: owner, Generation: 1}, nil
}
func (*frozen) Put(context.Context, store.Claim, []store.Block) error     { return nil }
func (*frozen) Flip(context.Context, store.Claim, []byte, []string) error { return nil }
func (*frozen) Release(context.Context, store.Claim) error                { return nil }
func (*frozen) Tidy(context.Context, seal.Place, store.Head) error        { return nil }
func (*frozen) Remove(context.Context, seal.Place, store.Head, map[seal.WriterID]uint64) (int, error) {
	return 0, nil
}
