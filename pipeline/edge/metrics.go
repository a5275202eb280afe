package edge

import (
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"mayfly/pipeline/event"
)

// The results of an event besides the refusals.
const (
	resultSealed  = "sealed"   // Kafka has acknowledged it
	resultNoKey   = "no_key"   // no key was published in time
	resultKafka   = "kafka"    // Kafka has not acknowledged it
	resultStopped = "stopped"  // given up at the end
	resultLate    = "too_late" // its deadline came while it waited
)

func resultOf(err error) string {
	switch {
	case err == nil:
		return resultSealed
	case errors.Is(err, ErrNoKey):
		return resultNoKey
	case errors.Is(err, ErrExpired):
		return resultLate
	case errors.Is(err, ErrStopped):
		return resultStopped
	}
	return resultKafka
}

type metrics struct {
	events  map[string]prometheus.Counter
	bytes   prometheus.Counter
	waiting prometheus.Gauge
	seal    prometheus.Histogram
}

// Unrelated and Ambiguous lines of a log are counted, too; package produce names them.
var lineRefusals = []event.Refusal{"unrelated", "ambiguous"}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mayfly_relay_events_total", Help: "Events offered to be sealed, by what became of them.",
	}, []string{"result"})
	m := &metrics{
		events: map[string]prometheus.Counter{},
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mayfly_relay_sealed_bytes_total", Help: "Bytes of sealed messages, before Kafka compresses them.",
		}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_relay_waiting_bytes", Help: "Memory held by events that Kafka has not acknowledged yet.",
		}),
		seal: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mayfly_relay_seal_seconds", Help: "Time to seal one batch.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 12),
		}),
	}
	results := []string{resultSealed, resultNoKey, resultKafka, resultStopped, resultLate}
	for _, refusal := range slices.Concat(event.Refusals, []event.Refusal{NoPolicy, TimeFuture, Expired}, lineRefusals) {
		results = append(results, string(refusal))
	}
	for _, result := range results {
		m.events[result] = vec.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{vec, m.bytes, m.waiting, m.seal} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(result string, n int) { m.events[result].Add(float64(n)) }
