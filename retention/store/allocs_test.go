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

// What is stored takes a few allocations a frame, and none a record: a frame has tens to
// thousands. Not parallel: AllocsPerRun counts those of the whole process.
func TestStoringAllocatesByTheFrame(t *testing.T) {
	const shards, rows = 64, 12_800
	y := newSystem(t, store.NewRedis(redistest.Start(t).Client(t)))
	y.policy = retention.Policy{Name: "p", Window: 24 * time.Hour, Epoch: 15 * time.Minute} // the writer lasts as long as the test
	epoch := y.policy.EpochAt(time.Now())
	deadline := epoch.Deadline(y.policy.Window)
	if _, err := y.ring.Mint(t.Context(), epoch, deadline, y.kek, func() uint32 { return shards },
		func(key keyring.Public) error { return y.store.Open(t.Context(), key) }); err != nil {
		t.Fatal(err)
	}
	records := make([]record.Record, rows)
	for i := range records {
		a, _ := address.From(netip.AddrFrom4([4]byte{198, 51, byte(i), byte(i >> 8)}))
		records[i] = record.Record{
			ID: record.ID{Partition: 1, Offset: int64(i)}, Time: epoch.Start, Address: a,
			Account: fmt.Sprintf("%08x", i*2654435761), Event: "alive", Session: fmt.Sprintf("%012x", i*40503),
		}
	}
	per := testing.AllocsPerRun(5, func() { y.write(t, []store.Batch{{Epoch: epoch, Deadline: deadline, Records: records}}) }) / (2 * shards)
	if per > 6 {
		t.Errorf("%.1f allocations a frame", per)
	}
}
