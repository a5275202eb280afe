package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"

	"mayfly/pipeline/event"
	"mayfly/retention/skew"
)

// The results of an event besides the refusals of package event.
const (
	resultStored      = "stored"
	resultDuplicate   = "duplicate"    // delivered again within one generation
	resultExpired     = "expired"      // its epoch was past its deadline
	resultPurged      = "purged"       // its epoch was purged before its deadline: a warden's window is shorter
	resultUnreadable  = "unreadable"   // sealed at the edge to a key that no keyring node has, or to shards that it has not
	resultBadBatch    = "bad_batch"    // it begins like a sealed batch and is none
	resultPlain       = "plain"        // it came plain, and only sealed batches are taken
	resultNoPolicy    = "no_policy"    // no policy matches, so it would have no deadline
	resultTimeFuture  = "time_future"  // its time is after its record's stamp
	resultStampFuture = "stamp_future" // its producer's stamp is ahead of our clock
)

type metrics struct {
	events     map[string]prometheus.Counter
	waiting    prometheus.Gauge
	flush      prometheus.Histogram
	redisAhead prometheus.Gauge
	rewinds    prometheus.Counter
}

// counts gathers results of one batch, so that a counter costs nothing per event.
type counts map[string]int

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mayfly_ingest_events_total", Help: "Events read from Kafka, by what became of them; of a sealed batch as many as it says it has.",
	}, []string{"result"})
	clocks, err := skew.Gauge(r)
	if err != nil {
		return nil, err
	}
	m := &metrics{
		events: map[string]prometheus.Counter{},
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_ingest_waiting_bytes", Help: "Memory held by events that are not stored yet.",
		}),
		flush: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mayfly_ingest_flush_seconds", Help: "Time to seal and store one gathering of events.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
		}),
		rewinds: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mayfly_ingest_rewinds_total", Help: "Times that reading went back to the committed offsets because stored events may be lost.",
		}),
		redisAhead: clocks.WithLabelValues("redis"),
	}
	results := []string{
		resultStored, resultDuplicate, resultExpired, resultPurged, resultUnreadable,
		resultBadBatch, resultPlain, resultNoPolicy, resultTimeFuture, resultStampFuture,
	}
	for _, refusal := range event.Refusals {
		results = append(results, string(refusal))
	}
	for _, result := range results {
		m.events[result] = vec.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{vec, m.waiting, m.flush, m.rewinds} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) add(c counts) {
	for result, n := range c {
		m.events[result].Add(float64(n))
	}
}
