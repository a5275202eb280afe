package store_test

import (
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// What lies behind the limit is not decoded, and yet a look-up says when it is lost.
func TestALimitHidesNoLoss(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		y := newSystem(t, memory)
		y.mint(t)
		written, batches := y.events(1, 8000)
		y.write(t, batches)
		y.mustCompact(t)
		of := func(limit int) store.Answer {
			t.Helper()
			answer, err := y.reader.Find(context.Background(), store.Query{
				Prefix: netip.MustParsePrefix("198.51.0.0/16"), Limit: limit, To: y.minted,
			})
			if err != nil {
				t.Fatal(err)
			}
			return answer
		}
		whole, few := of(0), of(10)
		if !few.Complete || !few.Truncated || len(few.Records) != 10 || few.Touched >= whole.Touched {
			t.Fatalf("%d records, complete %v, truncated %v; %d rows decoded, %d without a limit",
				len(few.Records), few.Complete, few.Truncated, few.Touched, whole.Touched)
		}
		for i, r := range few.Records {
			if r.ID != whole.Records[i].ID {
				t.Fatalf("record %d is not the one that there is without a limit", i)
			}
		}
		last := lastOf(written, y.minted)
		epoch := y.policy.EpochAt(time.UnixMilli(last.Time))
		keys, _ := y.ring.Public(context.Background(), epoch)
		for shard := range keys[0].Shards {
			memory.DropBlocks(seal.Place{Epoch: epoch, Key: keys[0].ID, View: seal.ByAddress, Shard: shard})
		}
		if of(10).Complete {
			t.Error("a loss behind the limit looks like innocence")
		}
	})
}

// lastOf is the latest record up to a time.
func lastOf(records []record.Record, until time.Time) (last record.Record) {
	for _, r := range records {
		if r.Time > last.Time && r.Time <= until.UnixMilli() {
			last = r
		}
	}
	return last
}
