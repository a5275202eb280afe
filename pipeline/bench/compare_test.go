package bench

import (
	"fmt"
	"testing"
	"time"

	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
)

// contender is what is compared.
type contender string

const (
	groupReader contender = "reader"
	rawFetch    contender = "fetch"
	ingestion   contender = "ingest"
)

var contenders = []contender{groupReader, rawFetch, ingestion}

// run is one contender in one round. All but Events and Seconds is per event.
type run struct {
	Contender      contender `json:"contender"`
	Round          int       `json:"round"`
	Events         int       `json:"events"`
	Seconds        float64   `json:"seconds"`
	CPUMicros      float64   `json:"cpu_us_per_event"` // of the contender's process, user and system
	Allocations    float64   `json:"allocations_per_event"`
	Allocated      float64   `json:"allocated_bytes_per_event"`
	PeakMB         float64   `json:"peak_rss_mb"`
	RedisCPUMicros float64   `json:"redis_cpu_us_per_event"`
	RedisBytes     float64   `json:"redis_bytes_per_event"` // of used_memory, all overhead in
}

// comparison is what is printed and saved.
type comparison struct {
	Machine machine `json:"machine"`
	Traffic traffic `json:"traffic"`
	Runs    []run   `json:"runs"`
}

// policy is what ingest is measured under.
func policy() retention.Policy {
	return retention.Policy{Name: "day", Window: 24 * time.Hour, Epoch: 15 * time.Minute, Basis: "benchmark"}
}

// compare fills a topic and runs every contender on it, rounds times in turn.
func compare(t testing.TB, kafka *kafkatest.Cluster, events, rounds int, profiles string) *comparison {
	t.Helper()
	s := startServers(t)
	c := &comparison{Machine: describeMachine(t, kafka, s), Traffic: fill(t, kafka, events)}
	for round := range rounds {
		for _, who := range contenders {
			task := task{
				Contender: who, Brokers: kafka.Brokers(), Topic: c.Traffic.Topic, Events: events,
				Group: fmt.Sprintf("%s-%s-%d", c.Traffic.Topic, who, round),
				Redis: s.data.Addr, Keyring: s.keys.URL(),
			}
			if profiles != "" && who == ingestion {
				task.Profiles = profiles
			}
			result := s.measure(t, task)
			result.Round = round
			c.Runs = append(c.Runs, result)
		}
	}
	return c
}

// measure runs one contender with Redis as empty as it was before.
func (s *servers) measure(t testing.TB, task task) run {
	t.Helper()
	s.empty(t)
	var stored func(testing.TB) uint64
	if task.Contender == ingestion {
		stored = s.mint(t)
	}
	memory, cpu := s.figures(t)
	result := execute(t, task)
	memoryAfter, cpuAfter := s.figures(t)

	n := float64(task.Events)
	result.Contender, result.Events = task.Contender, task.Events
	result.RedisBytes = float64(memoryAfter-memory) / n
	result.RedisCPUMicros = (cpuAfter - cpu).Seconds() * 1e6 / n
	if stored != nil {
		if n := stored(t); n != uint64(task.Events) {
			t.Fatalf("%d of %d events are stored", n, task.Events)
		}
	}
	return result
}
