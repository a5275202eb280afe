package kafkain

import "github.com/prometheus/client_golang/prometheus"

// metrics are labelled by topic, a configured name, and by words of this package: never by what a record holds.
type metrics struct {
	fetches     *prometheus.CounterVec // topic
	bytes       *prometheus.CounterVec // topic
	records     *prometheus.CounterVec // topic
	skipped     *prometheus.CounterVec // topic
	refused     *prometheus.CounterVec // topic, reason
	corrupt     *prometheus.CounterVec // topic
	lag         *prometheus.GaugeVec   // topic
	failures    *prometheus.CounterVec // operation
	commits     *prometheus.CounterVec // result
	generations prometheus.Counter
	assigned    prometheus.Gauge
	member      prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mayfly_kafka_" + name, Help: help}, labels)
	}
	m := &metrics{
		fetches: counter("fetches_total", "Fetches that were answered.", "topic"),
		bytes:   counter("fetched_bytes_total", "Bytes of record batches read, as sent.", "topic"),
		records: counter("records_total", "Records handed on.", "topic"),
		skipped: counter("offsets_skipped_total", "Offsets whose records were gone or undecodable before they were read.", "topic"),
		refused: counter("batches_refused_total", "Intact record batches that can't be decoded.", "topic", "reason"),
		corrupt: counter("corrupt_batches_total", "Record sets with a batch that fails its checksum or structure.", "topic"),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mayfly_kafka_lag_records",
			Help: "Offsets between what was read and the high watermark, over the assigned partitions."}, []string{"topic"}),
		failures:    counter("failures_total", "Failed attempts to reach or use Kafka.", "operation"),
		commits:     counter("commits_total", "Offset commits.", "result"),
		generations: prometheus.NewCounter(prometheus.CounterOpts{Name: "mayfly_kafka_generations_total", Help: "Assignments of partitions received."}),
		assigned:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "mayfly_kafka_assigned_partitions", Help: "Partitions assigned now."}),
		member:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "mayfly_kafka_member", Help: "1 while a member of the consumer group."}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, collector := range []prometheus.Collector{m.fetches, m.bytes, m.records, m.skipped, m.refused, m.corrupt,
		m.lag, m.failures, m.commits, m.generations, m.assigned, m.member} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// topicMetrics are one topic's, looked up once: With costs a map and a lock.
type topicMetrics struct {
	fetches, bytes, records, skipped, corrupt prometheus.Counter
	lag                                       prometheus.Gauge
}

func (m *metrics) topic(name string) topicMetrics {
	return topicMetrics{
		fetches: m.fetches.WithLabelValues(name), bytes: m.bytes.WithLabelValues(name), records: m.records.WithLabelValues(name),
		skipped: m.skipped.WithLabelValues(name), corrupt: m.corrupt.WithLabelValues(name), lag: m.lag.WithLabelValues(name),
	}
}
