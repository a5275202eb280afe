package edge

import (
	"fmt"
	"testing"
	"time"

	"mayfly/pipeline/event"
	"mayfly/pipeline/workload"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// reference draws records of the reference workload, and tells how many bytes they
// are as plain messages.
func reference(t testing.TB, n int) (records []record.Record, plain int) {
	t.Helper()
	config := workload.DefaultConfig()
	config.Start = time.Date(2026, 1, 1, 18, 0, 0, 0, time.UTC)
	config.Rate, config.Malformed = 1000, 0
	generator, err := workload.New(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &retention.Policy{}
	for len(records) < n {
		e := generator.Next().Event
		r, _ := copied(e, p, e.Time)
		records = append(records, r)
		plain += len(event.Append(nil, e))
	}
	return records, plain
}

// sizes are of batches as a relay makes them, at 16 shards a view.
var sizes = []struct {
	events int
	most   float64 // bytes an event
}{{10, 260}, {100, 80}, {1000, 40}}

func testEdge(t testing.TB) *store.Edge {
	t.Helper()
	public, _, err := seal.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	e, err := store.NewEdge(keyring.Public{
		Epoch: retention.Epoch{Policy: "connections", Start: 1_763_775_000_000, Length: 900_000}, Key: public, Shards: 16,
	})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The layout key is the same each time, so the sizes are, too.
func TestBytesPerSealedEvent(t *testing.T) {
	t.Parallel()
	for _, s := range sizes {
		records, plain := reference(t, s.events)
		size := float64(len(testEdge(t).Seal(nil, records))) / float64(s.events)
		t.Logf("batches of %d: %.1f bytes an event, plain %.1f", s.events, size, float64(plain)/float64(s.events))
		if size > s.most {
			t.Errorf("batches of %d: %.1f bytes an event, want at most %v", s.events, size, s.most)
		}
	}
}

// Events that hardly differ take next to nothing, and are a batch all the same.
func TestManyEventsOfOneAccountAreABatch(t *testing.T) {
	t.Parallel()
	records, _ := reference(t, 1)
	for len(records) < maxEvents {
		records = append(records, records[0])
	}
	batch, err := seal.ParseBatch(testEdge(t).Seal(nil, records))
	if err != nil || batch.Events != maxEvents {
		t.Fatalf("%d events, %v", batch.Events, err)
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, s := range sizes {
		b.Run(fmt.Sprint(s.events), func(b *testing.B) {
			records, plain := reference(b, s.events)
			e := testEdge(b)
			var message []byte
			b.ReportAllocs()
			for b.Loop() {
				message = e.Seal(message[:0], records)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*s.events), "µs/event")
			b.ReportMetric(float64(len(message))/float64(s.events), "B/event")
			b.ReportMetric(float64(plain)/float64(s.events), "plain-B/event")
		})
	}
}
