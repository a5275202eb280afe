package main

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/canary"
	"mayfly/retention/receipts/receiptstest"
)

// metricLabels are all of Mayfly's metrics, with their labels. None of these has values
// without bound, and none has an address or an account: who adds a metric says so here.
// Those of the first part are what dashboards and alerts rely on.
var metricLabels = map[string]string{
	"mayfly_ingest_events_total":                   "result",
	"mayfly_retention_window_seconds":              "policy",
	"mayfly_retention_oldest_readable_age_seconds": "policy",
	"mayfly_retention_purge_lag_seconds":           "",
	"mayfly_retention_overdue_epochs":              "",
	"mayfly_retention_keys_without_expiry":         "",
	"mayfly_retention_canary_failures_total":       "",
	"mayfly_kafka_oldest_record_age_seconds":       "topic",
	"mayfly_clock_skew_seconds":                    "peer",
	"mayfly_receipts_total":                        "type",
	"mayfly_assurance_level":                       "",

	"mayfly_attested_conditions":            "area condition verdict",
	"mayfly_canary_found_seconds":           "",
	"mayfly_canary_lost_total":              "",
	"mayfly_canary_probes_total":            "result",
	"mayfly_canary_sent_total":              "result",
	"mayfly_compact_events_total":           "",
	"mayfly_compact_failures_total":         "reason",
	"mayfly_compact_generations_total":      "",
	"mayfly_compact_lag_seconds":            "",
	"mayfly_desk_lookup_duration_seconds":   "",
	"mayfly_desk_lookups_total":             "result",
	"mayfly_ingest_flush_seconds":           "",
	"mayfly_ingest_rewinds_total":           "",
	"mayfly_ingest_waiting_bytes":           "",
	"mayfly_kafka_assigned_partitions":      "",
	"mayfly_kafka_commits_total":            "result",
	"mayfly_kafka_corrupt_batches_total":    "topic",
	"mayfly_kafka_fetched_bytes_total":      "topic",
	"mayfly_kafka_fetches_total":            "topic",
	"mayfly_kafka_generations_total":        "",
	"mayfly_kafka_lag_records":              "topic",
	"mayfly_kafka_member":                   "",
	"mayfly_kafka_offsets_skipped_total":    "topic",
	"mayfly_kafka_records_total":            "topic",
	"mayfly_lookup_refused_total":           "",
	"mayfly_receipts_mirror_behind_entries": "",
	"mayfly_receipts_witnessed_entries":     "",
	"mayfly_relay_events_total":             "result",
	"mayfly_relay_seal_seconds":             "",
	"mayfly_relay_sealed_bytes_total":       "",
	"mayfly_relay_waiting_bytes":            "",
	"mayfly_sweep_keys_total":               "finding",
	"mayfly_warden_active":                  "",
}

// rareMetrics are shown once what they count has happened.
var rareMetrics = map[string]string{
	"mayfly_compact_bytes_total":                "direction",
	"mayfly_kafka_batches_refused_total":        "reason topic",
	"mayfly_kafka_failures_total":               "operation",
	"mayfly_witness_cosigned_timestamp_seconds": "witness",
	"mayfly_witness_failures_total":             "reason witness",
}

var (
	metricType   = regexp.MustCompile(`(?m)^# TYPE (mayfly_\S+) (\S+)$`)
	metricSample = regexp.MustCompile(`(?m)^(mayfly_[a-z_]+)(?:\{(.*)\})? \S+$`)
	metricLabel  = regexp.MustCompile(`([a-z_]+)="`)
)

// labelsOf reads the names and labels of Mayfly's metrics; each series of a metric must have the same.
func labelsOf(t *testing.T, text string) map[string]string {
	t.Helper()
	kinds := map[string]string{}
	for _, found := range metricType.FindAllStringSubmatch(text, -1) {
		kinds[found[1]] = found[2]
	}
	labels := map[string]string{}
	for _, found := range metricSample.FindAllStringSubmatch(text, -1) {
		name := found[1]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && kinds[base] == "histogram" {
				name = base
			}
		}
		var names []string
		for _, label := range metricLabel.FindAllStringSubmatch(found[2], -1) {
			if label[1] != "le" || kinds[name] != "histogram" {
				names = append(names, label[1])
			}
		}
		slices.Sort(names)
		of := strings.Join(names, " ")
		if before, there := labels[name]; there && before != of {
			t.Errorf("%s has labels %q, and %q", name, before, of)
		}
		labels[name] = of
	}
	return labels
}

// testMetrics lets all roles work in one process, and a relay beside it, and compares
// what they show with what is listed: nothing is missing, and nothing unlisted is there.
func testMetrics(t *testing.T, kafka *kafkatest.Cluster) {
	s := newE2E(t, kafka, 8*time.Second, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	key := filepath.Join(t.TempDir(), "canary.key")
	if err := canary.GenerateKey(key); err != nil {
		t.Fatal(err)
	}
	witness := receiptstest.NewWitness(t, "witness.example/metrics")
	s.Config["policies"] = []map[string]any{{"name": "all", "window": "8s", "epoch": "2s", "basis": "test"}}
	s.Config["canary"] = map[string]any{"ranges": []string{"203.0.113.0/24"}, "account_format": "user-%%%%%%%%%%", "key_file": key, "grace": "2s"}
	s.Config["receipts"] = map[string]any{
		"mirror":    filepath.Join(t.TempDir(), "mirror"),
		"witnesses": []map[string]any{{"name": "metrics", "key": witness.Key, "url": witness.URL}},
	}
	p := s.Start(t, "run")
	mayflytest.Eventually(t, "a canary is gone", func() bool {
		p.MustRun(t)
		kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(0, 20, 2, 5)...)
		return p.Metric(`mayfly_canary_probes_total{result="passed"}`) >= 1
	})
	_, text := p.Get("/metrics")
	_, relayed := s.relay(t).Get("/metrics")
	shown := labelsOf(t, text)
	maps.Copy(shown, labelsOf(t, relayed))
	for name, labels := range rareMetrics {
		if of, there := shown[name]; there && of != labels {
			t.Errorf("%s has labels %q, want %q", name, of, labels)
		}
		delete(shown, name)
	}
	if diff := cmp.Diff(metricLabels, shown); diff != "" {
		t.Errorf("metrics and their labels (-listed +shown):\n%s", diff)
	}
	for _, series := range metricSample.FindAllString(text+relayed, -1) {
		for _, secret := range []string{"198.51.100.", "203.0.113.", "account-", "user-"} {
			if strings.Contains(series, secret) {
				t.Errorf("%q is in %s", secret, series)
			}
		}
	}
}
