package kafkain

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
)

// event is a JSON event of 199 bytes, as the design's figures use.
func event(i int) []byte {
	return fmt.Appendf(nil, `{"time":"2026-11-22T01:%02d:%02d.%03dZ","account":"user-%08d","ip":"198.51.100.%03d","port":%05d,"event":"connect",`+
		`"session":"%08x","server":"edge-07","transport":"tcp","outcome":"ok","rtt_ms":%02d}`,
		i/60000%60, i/1000%60, i%1000, i*7919%10000000, i%250, 1024+i%60000, uint32(i)*0x9e3779b9, i%90+10)
}

func TestBenchmarkEventSize(t *testing.T) {
	t.Parallel()
	if size := len(event(12345)); size != 199 {
		t.Errorf("an event has %d bytes, want 199", size)
	}
}

// BenchmarkDecode decodes a fetch of about 1 MB on the wire, batches of 1,000 events.
func BenchmarkDecode(b *testing.B) {
	for codec, name := range codecNames {
		b.Run(name, func(b *testing.B) {
			var set []byte
			events := 0
			for len(set) < 1<<20 {
				plan := batchPlan{base: int64(events), codec: int16(codec)}
				for i := range 1000 {
					plan.records = append(plan.records, recordPlan{delta: int64(i), stamp: int64(i), value: event(events + i)})
				}
				set, events = append(set, plan.build(b)...), events+1000
			}
			d := decoder{limit: 4 << 20, refused: func(err error) { b.Fatal(err) }}
			got := 0
			emit := func(batch *Batch) error { got += len(batch.Records); return nil }
			b.ReportAllocs()
			for b.Loop() {
				if err := d.decode(set, 0, nil, emit); err != nil {
					b.Fatal(err)
				}
			}
			if got != events*b.N {
				b.Fatalf("%d events, want %d", got, events*b.N)
			}
			b.ReportMetric(float64(got)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(got), "ns/event")
		})
	}
}

// BenchmarkRead reads 1,000,000 events of 8 partitions from the broker, again and again.
func BenchmarkRead(b *testing.B) {
	const count, partitions = 1_000_000, 8
	cluster := kafkatest.Start(b)
	for codec, name := range codecNames {
		if codec == 1 || codec == 3 {
			continue
		}
		topic := "bench-" + name
		cluster.CreateTopic(b, topic, partitions, nil)
		for from := 0; from < count; from += 100_000 {
			var records []*kgo.Record
			for i := range 100_000 {
				records = append(records, &kgo.Record{Partition: int32(i % partitions), Value: event(from + i)})
			}
			cluster.Produce(b, topic, codecs[codec], records...)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				counter := &counter{want: count, done: make(chan struct{})}
				r := prepare(b, cluster.Brokers(), fmt.Sprintf("%s-%d", topic, time.Now().UnixNano()), []string{topic})
				ctx, cancel := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() { ended <- r.Run(ctx, counter) }()
				<-counter.done
				b.ReportMetric(float64(count)/counter.end.Sub(counter.begin).Seconds(), "events/s")
				cancel()
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// counter touches each value and counts, from the assignment to the last record.
type counter struct {
	mutex      chan struct{}
	want, got  int
	begin, end time.Time
	done       chan struct{}
}

func (c *counter) Assigned(context.Context, Generation) error {
	c.mutex, c.begin = make(chan struct{}, 1), time.Now()
	return nil
}

func (c *counter) Handle(_ context.Context, b *Batch) error {
	for _, r := range b.Records {
		if !bytes.HasPrefix(r.Value, []byte("{")) {
			return fmt.Errorf("not an event at offset %d", r.Offset)
		}
	}
	c.mutex <- struct{}{}
	defer func() { <-c.mutex }()
	if c.got += len(b.Records); c.got == c.want {
		c.end = time.Now()
		close(c.done)
	}
	return nil
}

func (c *counter) Revoked(context.Context) error { return nil }
