package pipeline

import (
	"context"
	"math"
	"testing"
	"time"

	"go.uber.org/zap"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/pipeline/workload"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/store"
)

// BenchmarkPath is the way of events of the reference workload from
// Kafka's bytes to sealed frames, all in one goroutine. On a machine that others
// use as well the least of many rounds says most: it is what is reported, in
// nanoseconds an event, for the two halves of the way.
func BenchmarkPath(b *testing.B) {
	const events, shards, partitions, perBatch = 240_000, 900, 8, 500
	policy := retention.Policy{Name: "day", Window: 24 * time.Hour, Epoch: 15 * time.Minute}
	log := store.NewMemory()
	ring, err := keyring.New(keyring.NewMemoryNode("a"))
	if err != nil {
		b.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	epoch := policy.EpochAt(time.Now().Add(-policy.Epoch))
	if _, err := ring.Mint(b.Context(), epoch, epoch.Deadline(policy.Window), kek, func() uint32 { return shards },
		func(key keyring.Public) error { return log.Open(b.Context(), key) }); err != nil {
		b.Fatal(err)
	}
	writer := store.NewWriter(ring, log)
	config := DefaultConfig()
	config.Memory = 1 << 30
	ingest, err := New(config, Dependencies{Policies: retention.Policies{policy}, Fields: event.FieldMap{}, Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	batches := referenceBatches(b, epoch, events, partitions, perBatch)
	lanes := make([]*lane, partitions)
	for i := range lanes {
		lanes[i] = newLane(ingest, kafkain.Partition{Number: int32(i)}, 0, make(chan struct{}, 1))
	}
	take, sealing := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	round := int64(0)
	for b.Loop() {
		began := time.Now()
		for _, batch := range batches {
			for i := range batch.Records { // what lies behind a lane is a repeat
				batch.Records[i].Offset += round * events
			}
			if err := lanes[batch.Partition.Number].handle(context.Background(), batch); err != nil {
				b.Fatal(err)
			}
			for i := range batch.Records {
				batch.Records[i].Offset -= round * events
			}
		}
		round++
		taken := time.Now()
		var gathered []store.Batch
		for _, l := range lanes {
			gathered = append(gathered, l.slab.batches...)
		}
		sealed, err := writer.Seal(b.Context(), gathered)
		if err != nil || sealed.Stored != events {
			b.Fatalf("%d of %d events sealed, %v", sealed.Stored, events, err)
		}
		take, sealing = min(take, taken.Sub(began)), min(sealing, time.Since(taken))
		for _, l := range lanes {
			s, _, _, held := l.harvest()
			s.erase()
			ingest.memory.Release(held)
		}
	}
	b.ReportMetric(float64(take.Nanoseconds())/events, "take-ns/event")
	b.ReportMetric(float64(sealing.Nanoseconds())/events, "seal-ns/event")
}

// referenceBatches are events of the reference workload as kafkain hands them over.
func referenceBatches(t testing.TB, epoch retention.Epoch, events, partitions, perBatch int) []*kafkain.Batch {
	t.Helper()
	c := workload.DefaultConfig()
	c.Start, c.Rate, c.Accounts = epoch.StartTime(), 100_000, 1_000_000
	g, err := workload.New(c)
	if err != nil {
		t.Fatal(err)
	}
	open := make([]*kafkain.Batch, partitions)
	var batches []*kafkain.Batch
	for i := range events {
		m := g.Next()
		b := open[i%partitions]
		if b == nil {
			b = &kafkain.Batch{Partition: kafkain.Partition{Topic: "connections", Number: int32(i % partitions)}}
			open[i%partitions] = b
			batches = append(batches, b)
		}
		b.Records = append(b.Records, kafkain.Record{
			Offset: int64(i / partitions), Stamp: m.At.UnixMilli(), Value: append([]byte(nil), m.Value...),
		})
		if b.Next = int64(i/partitions) + 1; len(b.Records) == perBatch {
			open[i%partitions] = nil
		}
	}
	return batches
}
