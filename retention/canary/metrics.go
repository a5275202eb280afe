package canary

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sent     *prometheus.CounterVec
	found    prometheus.Histogram
	lost     prometheus.Counter
	probes   *prometheus.CounterVec
	failures prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_canary_sent_total", Help: "Canaries sent to Kafka, by result: sent or failed.",
		}, []string{"result"}),
		found: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mayfly_canary_found_seconds", Help: "From a canary's sending until look-ups by account and by address find it.",
			Buckets: []float64{.1, .25, .5, 1, 1.5, 2, 3, 5, 10, 30, 60},
		}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mayfly_canary_lost_total", Help: "Canaries that were sent and not found within a minute.",
		}),
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_canary_probes_total", Help: "Canaries tried after their deadline, by result: passed, failed or unanswered.",
		}, []string{"result"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mayfly_retention_canary_failures_total", Help: "Canaries of which something outlived the deadline.",
		}),
	}
	for _, result := range []string{"sent", "failed"} {
		m.sent.WithLabelValues(result)
	}
	for _, result := range []string{"passed", "failed", "unanswered"} {
		m.probes.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.sent, m.found, m.lost, m.probes, m.failures} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
