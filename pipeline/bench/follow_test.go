package bench

import (
	"fmt"
	"testing"

	"mayfly/pipeline/kafkain/kafkatest"
)

// BenchmarkFollow is ingest alone behind a producer of -rate events a second for -live, -rounds
// times: what each second costs, however few events there are.
func BenchmarkFollow(b *testing.B) {
	kafka, s := kafkatest.Start(b), startServers(b)
	for range *roundsFlag {
		s.empty(b)
		log := s.mint(b, float64(*rateFlag)*policy().Epoch.Seconds())
		l := &live{Rate: *rateFlag}
		events := l.follow(b, kafka, s, log, *liveFlag, profilesFolder(b))
		cpu := l.Ingest.CPUMicros * float64(events) / 1e6
		fmt.Printf("%s events/s: %.1f %% of a core (%.2f s in %.1f), %.3f µs CPU and %.3f allocations per event, peak %.0f MB; found after %.2f s p50, %.2f p99\n",
			short(float64(l.Rate)), 100*cpu/l.Ingest.Seconds, cpu, l.Ingest.Seconds, l.Ingest.CPUMicros, l.Ingest.Allocations, l.Ingest.PeakMB,
			l.Freshness.P50, l.Freshness.P99)
	}
	b.ReportMetric(0, "ns/op")
}
