package bench

import (
	"hash/crc32"
	"testing"
	"time"

	"mayfly/pipeline/workload"
	"mayfly/retention/address"
	"mayfly/retention/record"
)

// reference draws records of the reference workload as ingest makes them, 8
// partitions one after the other.
func reference(t testing.TB, n int, ids string) []record.Record {
	t.Helper()
	config := workload.DefaultConfig()
	config.IDs = ids
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

// shards are as many as the warden plans for an epoch at workloadRate.
const shards = 900

// inShards sorts records as the store does: by address, and mentions by account.
func inShards(records []record.Record) (byAddress [shards][]*record.Record, byAccount [shards][]record.Mention) {
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
	return byAddress, byAccount
}

// bytesPerRecord encodes records and their mentions, a frame each shard.
func bytesPerRecord(records []record.Record) (rows, mentions float64) {
	byAddress, byAccount := inShards(records)
	var e record.Encoder
	for shard := range shards {
		if len(byAddress[shard]) > 0 {
			rows += float64(len(e.AppendRecords(nil, byAddress[shard])))
		}
		if len(byAccount[shard]) > 0 {
			mentions += float64(len(e.AppendMentions(nil, byAccount[shard])))
		}
	}
	n := float64(len(records))
	return rows / n, mentions / n
}

// TestBytesPerRecord bounds what a record of the reference workload takes in the
// frames of both views, before they are sealed: a second's events in 900 shards.
func TestBytesPerRecord(t *testing.T) {
	t.Parallel()
	for ids, most := range map[string]float64{"short8": 26.6, "uuid": 36.8} {
		const mostMentions = 5.4
		rows, mentions := bytesPerRecord(reference(t, workloadRate, ids))
		t.Logf("%s: records %.2f bytes each, mentions %.2f", ids, rows, mentions)
		if rows > most || mentions > mostMentions {
			t.Errorf("%s: records %.2f bytes each, mentions %.2f: want at most %.2f and %.2f", ids, rows, mentions, most, mostMentions)
		}
	}
}

// BenchmarkColumns says where the bytes of a record go: for each column by how
// much the frames shrink when it says the same in all rows.
func BenchmarkColumns(b *testing.B) {
	for _, ids := range []string{"short8", "uuid"} {
		b.Run(ids, func(b *testing.B) {
			records := reference(b, workloadRate, ids)
			all, mentions := bytesPerRecord(records)
			for b.Loop() { // nothing here is about time
				for _, column := range columns {
					byAddress, _ := inShards(records) // where they were
					size := 0
					var e record.Encoder
					for _, rows := range byAddress {
						same := make([]*record.Record, len(rows))
						for i, r := range rows {
							copied := *r
							column.blank(&copied, i)
							same[i] = &copied
						}
						size += len(e.AppendRecords(nil, same))
					}
					b.ReportMetric(all-float64(size)/float64(len(records)), column.name+"-B")
				}
			}
			b.ReportMetric(all, "record-B")
			b.ReportMetric(mentions, "mention-B")
			b.ReportMetric(0, "ns/op")
		})
	}
}

var columns = []struct {
	name  string
	blank func(r *record.Record, row int)
}{
	{"offset", func(r *record.Record, row int) { r.ID.Partition, r.ID.Offset = 0, int64(row) }},
	{"time", func(r *record.Record, _ int) {
		if r.Since != 0 { // its age stays
			r.Since -= r.Time
		}
		r.Time = 0
	}},
	{"since", func(r *record.Record, _ int) { r.Since = 0 }},
	{"address", func(r *record.Record, _ int) { r.Address = oneAddress }},
	{"port", func(r *record.Record, _ int) { r.Ports = record.Ports{} }},
	{"account", func(r *record.Record, _ int) { r.Account = "" }},
	{"event", func(r *record.Record, _ int) { r.Event = "" }},
	{"session", func(r *record.Record, _ int) { r.Session = "" }},
	{"server", func(r *record.Record, _ int) { r.Server = "" }},
}

var oneAddress, _ = address.Parse("192.0.2.1")
