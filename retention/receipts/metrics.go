package receipts

import "github.com/prometheus/client_golang/prometheus"

var receiptsTotal = prometheus.NewDesc("mayfly_receipts_total", "Entries of this process's receipt log, by type.", []string{"type"}, nil)

// Describe implements prometheus.Collector.
func (l *Log) Describe(ch chan<- *prometheus.Desc) { ch <- receiptsTotal }

// Collect implements prometheus.Collector.
func (l *Log) Collect(ch chan<- prometheus.Metric) {
	l.state.Lock()
	defer l.state.Unlock()
	for _, t := range Types {
		ch <- prometheus.MustNewConstMetric(receiptsTotal, prometheus.CounterValue, float64(l.counts[t]), t)
	}
}
