package warden

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"mayfly/retention/keyring"
	"mayfly/retention/skew"
)

type guardMetrics struct {
	level      prometheus.Gauge
	conditions *prometheus.GaugeVec // area, condition, verdict
	skew       *prometheus.GaugeVec // peer
	oldest     *prometheus.GaugeVec // topic
}

func newGuardMetrics(r prometheus.Registerer) (*guardMetrics, error) {
	m := &guardMetrics{
		level: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "mayfly_assurance_level", Help: "0 contradicted or nothing attested, 1 TTL only, 2 sealed with a volatile keyring, 3 with Kafka covered and witnessed logs.",
		}),
		conditions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mayfly_attested_conditions", Help: "Subjects (servers, topics, files) for which a condition of the guarantee has this verdict.",
		}, []string{"area", "condition", "verdict"}),
		oldest: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mayfly_kafka_oldest_record_age_seconds", Help: "Age of a topic's oldest record by its stamp.",
		}, []string{"topic"}),
	}
	var err error
	if m.skew, err = skew.Gauge(r); err != nil || r == nil {
		return m, err
	}
	for _, c := range []prometheus.Collector{m.level, m.conditions, m.oldest} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

var verdicts = [...]keyring.Verdict{keyring.Pass, keyring.Warn, keyring.Fail, keyring.Unattested}

// show sets the gauges. Nothing is deleted from the shared one: who is no
// longer told becomes NaN, which no alert takes for being in time.
func (m *guardMetrics) show(all []keyring.Finding, before, after Observation) {
	type key struct {
		area      keyring.Area
		condition keyring.Condition
	}
	counts := map[key]map[keyring.Verdict]int{}
	for _, findings := range [][]keyring.Finding{all, before.Findings} {
		for _, f := range findings {
			counts[key{f.Area, f.Condition}] = map[keyring.Verdict]int{}
		}
	}
	for _, f := range all {
		counts[key{f.Area, f.Condition}][f.Verdict]++
	}
	for k, of := range counts {
		for _, verdict := range verdicts {
			m.conditions.WithLabelValues(string(k.area), string(k.condition), string(verdict)).Set(float64(of[verdict]))
		}
	}
	for peer := range before.Ahead {
		m.skew.WithLabelValues(peer).Set(math.NaN())
	}
	for peer, ahead := range after.Ahead {
		m.skew.WithLabelValues(peer).Set(ahead.Seconds())
	}
	for topic := range before.Oldest {
		m.oldest.WithLabelValues(topic).Set(math.NaN())
	}
	for topic, age := range after.Oldest {
		m.oldest.WithLabelValues(topic).Set(age.Seconds())
	}
}
