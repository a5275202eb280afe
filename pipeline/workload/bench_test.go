package workload

import (
	"testing"
	"time"
)

// Next includes the encoding to JSON.
func BenchmarkNext(b *testing.B) {
	c := testConfig()
	c.Day, c.Rate = 24*time.Hour, 100_000
	g := generator(b, c)
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n += int64(len(g.Next().Value))
	}
	b.SetBytes(n / int64(b.N))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// Not parallel: AllocsPerRun counts the allocations of the whole process.
func TestNextDoesNotAllocate(t *testing.T) {
	c := testConfig()
	c.Story = ""
	g := generator(t, c)
	if n := testing.AllocsPerRun(20_000, func() { g.Next() }); n != 0 {
		t.Errorf("%v allocations a message", n)
	}
}
