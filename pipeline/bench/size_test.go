package bench

import (
	"hash/crc32"
	"testing"
	"time"

	"mayfly/pipeline/workload"
	"mayfly/retention/record"
)

// reference draws records of the reference workload as ingest makes them, 8
// partitions one after the other.
func reference(t testing.TB, n int) []record.Record {
	t.Helper()
	config := workload.DefaultConfig()
	config.Start = time.Date(2026, 1, 1, 18, 0, 0, 0, time.UTC)
	config.Rate, config.Accounts = workloadRate, workloadAccounts
	generator, err := workload.New(config)
	if err != nil {
		t.Fatal(err)
	}
	records := make([]record.Record, n)
	for i := range records {
		e := generator.Next().Event
		partition := i % partitions
		records[partition*(n/partitions)+i/partitions] = record.Record{
			ID:   record.ID{Topic: [16]byte{1}, Partition: int32(partition), Offset: int64(i / partitions)},
			Time: e.Time, Since: e.Since, Address: e.Address, Ports: e.Ports,
			Account: e.Account, Event: e.Kind, Session: e.Session, Server: e.Server,
		}
	}
	return records
}

// TestBytesPerRecord bounds what a record of the reference workload takes in the
// frames of each view, before they are sealed: a second's events in 450 shards.
func TestBytesPerRecord(t *testing.T) {
	t.Parallel()
	const shards, most = 450, 36
	records := reference(t, workloadRate)
	var byAccount, byAddress [shards][]*record.Record
	for i := range records {
		r := &records[i]
		ip := r.Address.Reveal()
		bits := 24
		if ip.Is6() {
			bits = 48
		}
		group, _ := ip.Prefix(bits)
		account := crc32.ChecksumIEEE([]byte(r.Account)) % shards
		address := crc32.ChecksumIEEE(group.Addr().AsSlice()) % shards
		byAccount[account] = append(byAccount[account], r)
		byAddress[address] = append(byAddress[address], r)
	}
	var e record.Encoder
	for view, frames := range map[string][shards][]*record.Record{"account": byAccount, "ip": byAddress} {
		bytes := 0
		for _, rows := range frames {
			if len(rows) > 0 {
				bytes += len(e.AppendRows(nil, rows))
			}
		}
		if size := float64(bytes) / float64(len(records)); size > most {
			t.Errorf("view %s: %.1f bytes a record, want at most %d", view, size, most)
		} else {
			t.Logf("view %s: %.1f bytes a record", view, size)
		}
	}
}
