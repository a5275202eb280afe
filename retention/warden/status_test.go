package warden

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/retention"
)

// The age of the oldest readable epoch falls with its purge, to 0 where nothing is left.
func TestOldestReadableAge(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	now := time.UnixMilli(1_000_000)
	status := func(policy string, age time.Duration) *Status {
		e := retention.Epoch{Policy: policy, Start: now.Add(-age).UnixMilli(), Length: 10_000}
		return &Status{Epoch: e, Deadline: e.Deadline(time.Hour)}
	}
	older, newer, removed := status("p", 100*time.Second), status("p", 50*time.Second), status("removed", 70*time.Second)
	w := &Warden{
		metrics: m, d: Dependencies{Policies: retention.Policies{{Name: "p"}, {Name: "idle"}}, Log: zap.NewNop()},
		epochs: map[retention.Epoch]*Status{}, shown: map[string]bool{},
	}
	for _, s := range []*Status{older, newer, removed} {
		w.epochs[s.Epoch] = s
	}
	expect := func(what string, want map[string]float64) {
		t.Helper()
		w.settle(now, nil)
		if diff := cmp.Diff(want, gaugesOf(t, registry, "mayfly_retention_oldest_readable_age_seconds")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	expect("all live", map[string]float64{"p": 100, "idle": 0, "removed": 70})
	older.Purged = true
	expect("the oldest is purged", map[string]float64{"p": 50, "idle": 0, "removed": 70})
	newer.Purged, removed.Purged = true, true
	expect("all are purged", map[string]float64{"p": 0, "idle": 0})
}

// gaugesOf reads a gauge by its only label.
func gaugesOf(t *testing.T, from prometheus.Gatherer, name string) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			values[metric.GetLabel()[0].GetValue()] = metric.GetGauge().GetValue()
		}
	}
	return values
}
