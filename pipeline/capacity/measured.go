package capacity

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mayfly/retention/warden"
)

// Measured are the constants of a plan: what "make bench" and "make bench-curve" have
// written into one file.
type Measured struct {
	Machine Machine `json:"machine"`
	Traffic Traffic `json:"traffic"`
	Runs    []Run   `json:"runs"`
	Curve           // tiers, lookups
}

// Machine is what was measured on.
type Machine struct {
	CPU   string `json:"cpu"`
	Cores int    `json:"cores"`
	Kafka string `json:"kafka"`
	Redis string `json:"redis"`
}

// Traffic is what the runs read from Kafka.
type Traffic struct {
	EventBytes float64 `json:"event_bytes"`           // JSON, mean
	KafkaBytes float64 `json:"kafka_bytes_per_event"` // compressed, as Kafka stores and sends it
	Codec      string  `json:"codec"`
	Partitions int     `json:"partitions"`
	Rate       float64 `json:"rate_per_second"` // that the epoch was laid out for
	Epoch      string  `json:"epoch"`
}

// Run is one contender in one round of "make bench"; a plan looks at ingest.
type Run struct {
	Contender      string  `json:"contender"`
	Events         int     `json:"events"`
	Seconds        float64 `json:"seconds"`
	CPUMicros      float64 `json:"cpu_us_per_event"`
	PeakMB         float64 `json:"peak_rss_mb"`
	RedisCPUMicros float64 `json:"redis_cpu_us_per_event"`
	Purge          Purge   `json:"purge"`
}

// Purge is the end of the epoch that a run has written: unlinked, and verified.
type Purge struct {
	Seconds float64 `json:"seconds"`
}

// Curve is what "make bench-curve" has found.
type Curve struct {
	Tiers   []Tier   `json:"tiers,omitempty"`
	Lookups []Lookup `json:"lookups,omitempty"`
}

// Tier is one epoch of the reference workload on real Redis, hot and then compacted.
type Tier struct {
	Rate      float64 `json:"rate_per_second"` // of the whole service
	Epoch     float64 `json:"epoch_seconds"`
	IDs       string  `json:"ids"`
	Sessions  bool    `json:"sessions"`
	Processes int     `json:"ingest_processes"`
	Shards    uint32  `json:"shards"`  // that the epoch has per view
	Sampled   uint32  `json:"sampled"` // that were written
	Events    int     `json:"events"`  // in these
	// Redis bytes per event, of used_memory, all overhead and both views in.
	Hot  float64 `json:"hot_bytes"`
	Cold float64 `json:"cold_bytes"`
	// Network bytes per event that the data server sends and receives.
	HotNetwork     float64 `json:"hot_network_bytes"`
	CompactNetwork float64 `json:"compact_network_bytes"`
	CompactMicros  float64 `json:"compact_cpu_us"`       // per event, of the compactor
	RedisMicros    float64 `json:"compact_redis_cpu_us"` // per event, of the data server for it
	Keyring        float64 `json:"keyring_bytes"`        // of the epoch on one keyring node
}

// FrameEvents is about how many events a frame of the address view has.
func (t Tier) FrameEvents(linger float64) float64 {
	return frameEvents(t.Rate, t.Shards, t.Processes, linger)
}

// Lookup is a look-up of one address over many epochs, all but the newest compacted.
type Lookup struct {
	Rate        float64 `json:"rate_per_second"`
	Epochs      int     `json:"epochs"`
	Rows        int     `json:"shard_rows"` // in each shard
	N           int     `json:"n"`
	Found       float64 `json:"records"` // mean
	P50         float64 `json:"p50_seconds"`
	P99         float64 `json:"p99_seconds"`
	CPU         float64 `json:"cpu_seconds"`     // of the desk's process, mean
	Touched     float64 `json:"touched_rows"`    // cold rows decoded, mean
	Network     float64 `json:"network_bytes"`   // mean
	HotP50      float64 `json:"hot_p50_seconds"` // of the newest epoch alone, which is hot
	HotCPU      float64 `json:"hot_cpu_seconds"` // of the newest epoch alone, mean
	HotNetwork  float64 `json:"hot_network_bytes"`
	PrefixCPU   float64 `json:"prefix24_seconds"` // of a /24, CPU, mean
	PrefixFound float64 `json:"prefix24_records"` // in a /24, mean
}

//go:embed measured.json
var embedded string

// Embedded are the constants that the project has measured itself.
func Embedded() (Measured, error) { return parse([]byte(embedded)) }

// maxMeasured bounds a file of constants.
const maxMeasured = 4 << 20

// Read reads a file of results.
func Read(r io.Reader) (Measured, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxMeasured+1))
	if err != nil {
		return Measured{}, fmt.Errorf("reading the measured constants: %w", err)
	}
	if len(text) > maxMeasured {
		return Measured{}, errors.New("the measured constants are larger than 4 MB")
	}
	return parse(text)
}

func parse(text []byte) (Measured, error) {
	var m Measured
	if err := json.Unmarshal(text, &m); err != nil {
		return Measured{}, fmt.Errorf("decoding the measured constants: %w", err)
	}
	return m, m.validate()
}

// validate refuses what would make a plan of zeros.
func (m *Measured) validate() error {
	ingest := m.ingest()
	epoch, err := time.ParseDuration(m.Traffic.Epoch)
	switch {
	case len(ingest) == 0 || m.Traffic.KafkaBytes <= 0 || m.Traffic.Partitions <= 0 || m.Traffic.Rate <= 0 || err != nil || epoch <= 0:
		return errors.New("the measured constants have no run of ingest: write them with make bench")
	case len(m.Curve.Tiers) == 0 || len(m.Curve.Lookups) == 0:
		return errors.New("the measured constants have no curve: write them with make bench-curve")
	}
	for _, r := range ingest {
		if r.Events <= 0 || r.Seconds <= 0 || r.CPUMicros <= 0 || r.Purge.Seconds <= 0 {
			return errors.New("the measured constants have a run of ingest without a figure")
		}
	}
	for _, t := range m.Curve.Tiers {
		if t.Rate <= 0 || t.Epoch <= 0 || t.Processes < 1 || t.Sampled < 1 || t.Shards < t.Sampled || t.Events < 1 || t.Hot <= 0 || t.Cold <= 0 {
			return errors.New("the measured constants have a tier without a figure")
		}
	}
	for _, l := range m.Curve.Lookups {
		if l.Rate <= 0 || l.Epochs < 2 || l.P50 <= 0 || l.CPU <= 0 {
			return errors.New("the measured constants have a look-up without a figure")
		}
	}
	return nil
}

// ingest are the runs of ingest.
func (m *Measured) ingest() []Run {
	return slices.DeleteFunc(slices.Clone(m.Runs), func(r Run) bool { return r.Contender != "ingest" })
}

// laidOut is how many shards the epoch of the runs had.
func (m *Measured) laidOut() uint32 {
	epoch, _ := time.ParseDuration(m.Traffic.Epoch) // validated
	return warden.Shards(uint64(m.Traffic.Rate * epoch.Seconds()))
}

// ofIngest is the median of a figure over the runs of ingest.
func (m *Measured) ofIngest(figure func(Run) float64) float64 {
	var values []float64
	for _, r := range m.ingest() {
		values = append(values, figure(r))
	}
	return median(values)
}

func median(values []float64) float64 {
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// frameEvents is how many events of one shard a process of several stores at a time.
func frameEvents(rate float64, shards uint32, processes int, linger float64) float64 {
	return rate * linger / float64(shards) / float64(processes)
}
