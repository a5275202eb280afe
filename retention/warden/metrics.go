package warden

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	window  *prometheus.GaugeVec
	oldest  *prometheus.GaugeVec
	lag     prometheus.Histogram
	overdue prometheus.Gauge
	active  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		window: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mayfly_retention_window_seconds", Help: "How long an address may be known.",
		}, []string{"policy"}),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mayfly_retention_oldest_readable_age_seconds", Help: "Age of the oldest epoch that is not verified as purged.",
		}, []string{"policy"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mayfly_retention_purge_lag_seconds", Help: "From an epoch's deadline to its verified purge.",
			Buckets: []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 30, 300, 3600},
		}),
		overdue: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_retention_overdue_epochs", Help: "Epochs past their deadline whose purge is not verified.",
		}),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_warden_active", Help: "1 while this warden has the lease, 0 while it stands by.",
		}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.window, m.oldest, m.lag, m.overdue, m.active} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
