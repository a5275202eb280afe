package store_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/store"
)

// BenchmarkFind looks one address up in a shard of 125,000 rows, a quarter more than
// the warden plans: 900 frames of a second each.
func BenchmarkFind(b *testing.B) {
	const rows, perFrame = 125_000, 139
	y := newSystem(b, store.NewRedis(redistest.Start(b).Client(b)))
	y.policy = retention.Policy{Name: "p", Window: 24 * time.Hour, Epoch: 15 * time.Minute}
	y.reader = store.NewReader(retention.Policies{y.policy}, y.opener, y.store)
	epoch := y.policy.EpochAt(time.Now())
	if _, err := y.ring.Mint(b.Context(), epoch, epoch.Deadline(y.policy.Window), y.kek, func() uint32 { return 1 },
		func(key keyring.Public) error { return y.store.Open(b.Context(), key) }); err != nil {
		b.Fatal(err)
	}
	for from := 0; from < rows; from += perFrame {
		records := make([]record.Record, perFrame)
		for i := range records {
			n := from + i
			a, _ := address.From(netip.AddrFrom4([4]byte{198, 51, byte(n % 3), byte(n / 3)}))
			if n%25_000 == 1 { // the subject
				a, _ = address.From(netip.AddrFrom4([4]byte{198, 51, 77, 9}))
			} else if n%3 == 0 {
				a, _ = address.From(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 4: byte(n), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)}))
			}
			records[i] = record.Record{
				ID: record.ID{Partition: 1, Offset: int64(n)}, Time: epoch.Start + int64(n/1000), Address: a,
				Account: fmt.Sprintf("%08x", n*2654435761), Event: "alive", Session: fmt.Sprintf("%012x", n*40503), Server: "fra-edge-1",
			}
		}
		y.write(b, []store.Batch{{Epoch: epoch, Deadline: epoch.Deadline(y.policy.Window), Records: records}})
	}
	q := store.Query{Prefix: netip.MustParsePrefix("198.51.77.9/32")}
	b.ReportAllocs()
	for b.Loop() {
		if answer, err := y.reader.Find(b.Context(), q); err != nil || len(answer.Records) == 0 {
			b.Fatalf("%d records, %v", len(answer.Records), err)
		}
	}
}
