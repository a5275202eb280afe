package compactor

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"mayfly/retention/seal"
	"mayfly/retention/store"
)

type metrics struct {
	events      prometheus.Counter
	bytes       *prometheus.CounterVec
	generations prometheus.Counter
	failures    *prometheus.CounterVec
	lag         prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mayfly_compact_events_total", Help: "Events moved from hot frames into generations, repeats included.",
		}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_compact_bytes_total", Help: "Bytes of frames read (in) and of generations written (out).",
		}, []string{"direction"}),
		generations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mayfly_compact_generations_total", Help: "Generations made of a unit: one view of one shard of an epoch.",
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_compact_failures_total", Help: "Units that were not compacted, by reason.",
		}, []string{"reason"}),
		lag: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_compact_lag_seconds", Help: "For how long the oldest epoch that is still hot has been due.",
		}),
	}
	for _, reason := range []string{reasonDamaged, reasonStore} {
		m.failures.WithLabelValues(reason)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.events, m.bytes, m.generations, m.failures, m.lag} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

const (
	reasonDamaged = "damaged"
	reasonStore   = "store"
)

func (m *metrics) failed(err error) {
	reason := reasonStore
	if errors.Is(err, store.ErrDamaged) {
		reason = reasonDamaged
	}
	m.failures.WithLabelValues(reason).Inc()
}

func (m *metrics) done(u store.Unit, done store.Compacted) {
	if done.Generation == 0 {
		return
	}
	m.generations.Inc()
	if u.Place.View == seal.ByAddress {
		m.events.Add(float64(done.Rows))
	}
	m.bytes.WithLabelValues("in").Add(float64(done.BytesIn))
	m.bytes.WithLabelValues("out").Add(float64(done.BytesOut))
}
