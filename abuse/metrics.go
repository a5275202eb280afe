package abuse

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The results of look-ups, as metrics name them.
const (
	resultAnswered    = "answered"
	resultAmbiguous   = "ambiguous"
	resultIncomplete  = "incomplete"
	resultRefused     = "refused"
	resultUnavailable = "unavailable"
)

type metrics struct {
	lookups *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_desk_lookups_total",
			Help: "Look-ups by result; a batch counts once.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mayfly_desk_lookup_duration_seconds",
			Help:    "How long look-ups took, receipt included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 11),
		}),
	}
	for _, result := range []string{resultAnswered, resultAmbiguous, resultIncomplete, resultRefused, resultUnavailable} {
		m.lookups.WithLabelValues(result)
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.lookups, m.seconds} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("registering the desk's metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(result string, took time.Duration) {
	m.lookups.WithLabelValues(result).Inc()
	m.seconds.Observe(took.Seconds())
}
