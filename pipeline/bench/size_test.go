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
// frames of both views, before they are sealed: a second's events in 450 shards.
func TestBytesPerRecord(t *testing.T) {
	t.Parallel()
	const shards, most, mostMentions = 450, 25.5, 5.3
	records := reference(t, workloadRate)
	var byAddress [shards][]*record.Record
	var byAccount [shards][]record.Mention
	for i := range records {
		r := &records[i]
		ip := r.Address.Reveal()
		bits := 24
		if ip.Is6() {
			bits = 48
		}
		group, _ := ip.Prefix(bits)
		account := crc32.ChecksumIEEE([]byte(r.Account))
		address := crc32.ChecksumIEEE(group.Addr().AsSlice()) % shards
		byAddress[address] = append(byAddress[address], r)
		byAccount[account%shards] = append(byAccount[account%shards], record.Mention{Subject: account, Shard: address})
	}
	var e record.Encoder
	rows, mentions := 0, 0
	for shard := range shards {
		rows += len(e.AppendRows(nil, byAddress[shard]))
		mentions += len(e.AppendMentions(nil, byAccount[shard]))
	}
	size, sizeMentions := float64(rows)/float64(len(records)), float64(mentions)/float64(len(records))
	t.Logf("records %.2f bytes each, mentions %.2f", size, sizeMentions)
	if size > most || sizeMentions > mostMentions {
		t.Errorf("records %.2f bytes each, mentions %.2f: want at most %.2f and %.2f", size, sizeMentions, most, mostMentions)
	}
}
