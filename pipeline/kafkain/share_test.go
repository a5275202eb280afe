package kafkain

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
)

// Partitions that all have a backlog, and a handler that takes nothing for now: what they
// have fetched by then does not grow with their number. Not parallel, as it looks at the heap.
func TestPartitionsShareMemory(t *testing.T) {
	const partitions, batches, size = 160, 16, 60 << 10
	cluster := kafkatest.StartEmbedded(t)
	cluster.CreateTopic(t, "many", partitions, nil)
	producer := cluster.Client(t, kgo.DefaultProduceTopic("many"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(size+1000))
	var records []*kgo.Record
	for i := range partitions * batches {
		records = append(records, &kgo.Record{Partition: int32(i % partitions), Value: fmt.Appendf(nil, "%0*d", size, i)})
	}
	if err := producer.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	clear(records)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	arrived := make(chan struct{}, partitions)
	run(t, cluster, "g", []string{"many"}, func(r *rig) {
		r.journal.hold = func(ctx context.Context, _ *Batch) {
			arrived <- struct{}{}
			<-ctx.Done()
		}
	})
	for range partitions {
		<-arrived
	}
	if held := heap() - before; held > 2*fetchedAtOnce {
		t.Errorf("%d partitions hold %d MB of what they have fetched", partitions, held>>20)
	}
}
