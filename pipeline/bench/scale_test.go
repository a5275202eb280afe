package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"mayfly/pipeline/kafkain/kafkatest"
)

// scaled is what several ingest processes reach together.
type scaled struct {
	Processes int     `json:"processes"`
	Rate      float64 `json:"events_per_second"`
	CPUMicros float64 `json:"cpu_us_per_event"` // of all of them
}

// BenchmarkScale runs one, two and three processes of ingest side by side, each on a
// topic of its own, so that none waits for a group to be balanced. Where Kafka, Redis and they
// share two cores it shows what a further process costs, not what it brings.
func BenchmarkScale(b *testing.B) {
	kafka, s := kafkatest.Start(b), startServers(b)
	var all []scaled
	for processes := 1; processes <= 3; processes++ {
		for range *roundsFlag {
			r := scale(b, kafka, s, processes, *eventsFlag)
			all = append(all, r)
			fmt.Printf("%d ingest: %s events/s together, %.2f µs CPU per event\n", processes, short(r.Rate), r.CPUMicros)
		}
	}
	if *resultsFlag != "" {
		save(b, *resultsFlag, struct {
			Scale []scaled `json:"scale"`
		}{all})
	}
	b.ReportMetric(0, "ns/op")
}

func scale(t testing.TB, kafka *kafkatest.Cluster, s *servers, processes, events int) scaled {
	t.Helper()
	s.empty(t)
	log := s.mint(t, workloadRate*policy().Epoch.Seconds())
	results := make([]run, processes)
	tasks := make([]task, processes)
	for i := range tasks {
		topic := fill(t, kafka, events/processes).Topic
		tasks[i] = task{
			Contender: ingestion, Brokers: kafka.Brokers(), Topic: topic, Events: events / processes, Group: topic,
			Redis: s.data.Addr, Keyring: s.keys.URL(),
		}
	}
	var running sync.WaitGroup
	for i := range tasks {
		running.Go(func() { results[i] = execute(t, tasks[i]) })
	}
	running.Wait()
	n := events / processes * processes
	if stored := log.stored(t); stored != uint64(n) {
		t.Fatalf("%d of %d events are stored", stored, n)
	}
	first, last, cpu := results[0].Began, results[0].Began, 0.0
	for _, r := range results {
		if r.Began.Before(first) {
			first = r.Began
		}
		if end := r.Began.Add(time.Duration(r.Seconds * 1e9)); end.After(last) {
			last = end
		}
		cpu += r.CPUMicros / float64(processes)
	}
	return scaled{processes, float64(n) / last.Sub(first).Seconds(), cpu}
}
