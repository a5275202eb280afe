package bench

import (
	"fmt"
	"testing"
	"time"

	"mayfly/pipeline/capacity"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
)

// contender is what is compared.
type contender string

const (
	groupReader contender = "reader"
	rawFetch    contender = "fetch"
	ingestion   contender = "ingest"
	sustained   contender = "sustained" // ingest, then compaction of the same
	production  contender = "producer"  // of the live part, not compared
	compaction  contender = "compactor" // of sustained
)

var contenders = []contender{groupReader, rawFetch, ingestion, sustained}

// run is one contender in one round. All but Events and Seconds is per event.
type run struct {
	Contender      contender `json:"contender"`
	Round          int       `json:"round"`
	Events         int       `json:"events"`
	Began          time.Time `json:"began,omitzero"`
	Seconds        float64   `json:"seconds"`
	CPUMicros      float64   `json:"cpu_us_per_event"` // of the contender's process, user and system
	Allocations    float64   `json:"allocations_per_event"`
	Allocated      float64   `json:"allocated_bytes_per_event"`
	PeakMB         float64   `json:"peak_rss_mb"`
	RedisCPUMicros float64   `json:"redis_cpu_us_per_event"`
	RedisBytes     float64   `json:"redis_bytes_per_event"` // of used_memory, all overhead in
	Purge          *purge    `json:"purge,omitempty"`       // of what is stored
	Compaction     *run      `json:"compaction,omitempty"`  // its part of sustained
}

// comparison is what is printed and saved.
type comparison struct {
	Machine machine  `json:"machine"`
	Traffic traffic  `json:"traffic"`
	Runs    []run    `json:"runs"`
	Absent  []string `json:"absent,omitempty"` // peers that the machine has not
	Live    *live    `json:"live,omitempty"`
	Stalled *run     `json:"stalled,omitempty"` // ingest, and Redis is away for a while
	// Whole is of an epoch from its beginning to its end, at the rate of the live part: the topic has
	// some seconds of one, in which an account is heard of once.
	Whole capacity.Tier `json:"whole_epoch"`
	Goals []goal        `json:"goals"`
	who   []contender
}

// plan is what is compared.
type plan struct {
	events, rounds int
	peers          bool // as far as they are found on the machine
	profiles       string
	rate           int // of the live part
	live, stall    time.Duration
	cold, hot      int // rows of the epochs of the day that is looked up meanwhile
}

// policy is what ingest is measured under.
func policy() retention.Policy {
	return retention.Policy{Name: "day", Window: 24 * time.Hour, Epoch: 15 * time.Minute, Basis: "benchmark"}
}

// compare fills a topic and runs every contender on it, rounds times in turn.
func compare(t testing.TB, kafka *kafkatest.Cluster, p plan) *comparison {
	t.Helper()
	s := startServers(t)
	c := &comparison{Machine: describeMachine(t, kafka, s), Traffic: fill(t, kafka, p.events), who: contenders}
	if p.peers {
		var peers []contender
		peers, c.Absent = findPeers(t)
		c.who = append(c.who[:len(c.who):len(c.who)], peers...)
	}
	for round := range p.rounds {
		for _, who := range c.who {
			task := task{
				Contender: who, Brokers: kafka.Brokers(), Topic: c.Traffic.Topic, Events: p.events,
				Group: fmt.Sprintf("%s-%s-%d", c.Traffic.Topic, who, round),
				Redis: s.data.Addr, Keyring: s.keys.URL(), KEK: s.kek,
			}
			if who == ingestion {
				task.Profiles = p.profiles
			}
			result := s.measure(t, task)
			result.Round = round
			c.Runs = append(c.Runs, result)
		}
	}
	c.Whole = measureTier(t, s, service{
		rate: float64(p.rate), ids: "short8", sessions: true, processes: 1, window: policy().Window, epoch: policy().Epoch, most: p.events,
	})
	if p.stall > 0 {
		c.Stalled = s.stall(t, task{
			Contender: ingestion, Brokers: kafka.Brokers(), Topic: c.Traffic.Topic, Events: p.events, Group: c.Traffic.Topic + "-stalled",
			Redis: s.data.Addr, Keyring: s.keys.URL(),
		}, p.stall)
	}
	if p.live > 0 {
		c.Live = runLive(t, kafka, s, p.rate, p.live, p.cold, p.hot)
	}
	c.Goals = c.goals()
	return c
}

// measure runs one contender with Redis as empty as it was before.
func (s *servers) measure(t testing.TB, task task) run {
	t.Helper()
	s.empty(t)
	var log *minted
	switch task.Contender {
	case ingestion:
		log = s.mint(t, workloadRate*policy().Epoch.Seconds())
	case sustained: // the compactor gets shards that are full, as at any rate
		log = s.mint(t, float64(task.Events))
	}
	memory, cpu := s.figures(t)
	var result run
	switch {
	case isPeer(task.Contender):
		result = s.runRsyslog(t, task)
	case task.Contender == sustained:
		result = runSustained(t, task)
	default:
		result = execute(t, task)
	}
	memoryAfter, cpuAfter := s.figures(t)

	n := float64(task.Events)
	result.Contender, result.Events = task.Contender, task.Events
	result.RedisBytes = float64(memoryAfter-memory) / n
	result.RedisCPUMicros = (cpuAfter - cpu).Seconds() * 1e6 / n
	if log != nil {
		if n := log.stored(t); n != uint64(task.Events) {
			t.Fatalf("%d of %d events are stored", n, task.Events)
		}
		purged := s.purge(t, task.Events)
		result.Purge = &purged
	}
	return result
}
