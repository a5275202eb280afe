package event_test

import (
	"testing"
	"time"

	"mayfly/pipeline/event"
	"mayfly/pipeline/workload"
)

// reference are messages of the reference workload, 269 bytes at the mean.
func reference(t testing.TB, n int) [][]byte {
	t.Helper()
	c := workload.DefaultConfig()
	c.Start, c.Rate, c.Accounts = time.Unix(1_763_775_000, 0), 100_000, 1_000_000
	g, err := workload.New(c)
	if err != nil {
		t.Fatal(err)
	}
	values := make([][]byte, n)
	for i := range values {
		values[i] = append([]byte(nil), g.Next().Value...)
	}
	return values
}

// BenchmarkDecodeReference decodes messages that differ from one to the next, as
// those of a topic do: what a processor learns of one message alone is not in it.
func BenchmarkDecodeReference(b *testing.B) {
	values, d := reference(b, 20_000), decoder(b, nil)
	var e event.Event
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if refusal := d.Decode(values[i%len(values)], &e); refusal != event.Accepted {
			b.Fatalf("refused: %s", refusal)
		}
		i++
	}
}
