package witness

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	entries  prometheus.Gauge
	cosigned *prometheus.GaugeVec
	failures *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		entries: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_receipts_witnessed_entries", Help: "Entries of this process's receipt log under a checkpoint that enough witnesses have cosigned.",
		}),
		cosigned: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mayfly_witness_cosigned_timestamp_seconds", Help: "When a witness last cosigned the receipt log; 0: not since this process began.",
		}, []string{"witness"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mayfly_witness_failures_total", Help: "Requests that a witness did not answer with a cosignature, by reason.",
		}, []string{"witness", "reason"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.entries, m.cosigned, m.failures} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// show publishes what a witness did last.
func (m *metrics) show(p *peer) {
	if p.reason != "" {
		m.failures.WithLabelValues(p.name, p.reason).Inc()
		return
	}
	for _, reason := range reasons {
		m.failures.WithLabelValues(p.name, reason) // a counter begins at 0
	}
	if p.latest.IsZero() {
		m.cosigned.WithLabelValues(p.name).Set(0)
		return
	}
	m.cosigned.WithLabelValues(p.name).Set(float64(p.latest.UnixMilli()) / 1000)
}
