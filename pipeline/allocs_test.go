package pipeline

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/zap"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/retention"
)

// TestALaneDoesNotAllocate counts over the way of a batch into a slab and out of
// it again. Not parallel: AllocsPerRun counts those of the whole process.
func TestALaneDoesNotAllocate(t *testing.T) {
	policy := retention.Policy{Name: "day", Window: 24 * time.Hour, Epoch: 15 * time.Minute}
	ingest, err := New(DefaultConfig(), Dependencies{Policies: retention.Policies{policy}, Fields: event.FieldMap{}, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	const events = 2000
	batch := &kafkain.Batch{Partition: kafkain.Partition{Topic: "connections"}, Records: make([]kafkain.Record, events)}
	now := time.Now()
	for i := range batch.Records {
		batch.Records[i] = kafkain.Record{Stamp: now.UnixMilli(), Value: fmt.Appendf(nil,
			`{"time":%q,"account":"user-%04d","ip":"2001:db8::%x","port":%d,"session":"%012d","server":"edge-1","rtt_ms":1.5}`,
			now.UTC().Format(time.RFC3339), i, i, 1024+i, i)}
	}
	l := newLane(ingest, batch.Partition, 0, make(chan struct{}, 1))
	next := int64(0)
	allocations := testing.AllocsPerRun(20, func() {
		for i := range batch.Records {
			batch.Records[i].Offset = next
			next++
		}
		batch.Next = next
		if err := l.handle(context.Background(), batch); err != nil {
			t.Fatal(err)
		}
		s, _, _, held := l.harvest()
		if len(s.batches) == 0 {
			t.Fatal("nothing waits")
		}
		s.erase()
		ingest.memory.Release(held)
	})
	// Under the race detector sync.Pool forgets some of what it is given.
	if per := allocations / events; per > 0.01 {
		t.Errorf("%.3f allocations an event", per)
	}
}
