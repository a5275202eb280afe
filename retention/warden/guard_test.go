package warden_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mayfly/retention/keyring"
	"mayfly/retention/warden"
)

// attested are the findings of a sound system, in a fixed order.
func attested() []keyring.Finding {
	var all []keyring.Finding
	add := func(area keyring.Area, subject string, conditions ...keyring.Condition) {
		for _, condition := range conditions {
			all = append(all, keyring.Finding{Area: area, Subject: subject, Condition: condition, Verdict: keyring.Pass})
		}
	}
	for _, node := range []string{"0", "1"} {
		add(keyring.AreaKeyring, node, keyring.Answers, keyring.Version, keyring.Clock, keyring.Eviction, keyring.Standalone,
			keyring.AppendOnly, keyring.Snapshots, keyring.Replicas, keyring.SlowLog)
	}
	add(keyring.AreaRedis, "data", keyring.Answers, keyring.Version, keyring.Clock, keyring.Eviction, keyring.LazyExpiry)
	add(keyring.AreaKEK, "kek", keyring.KEKThere, keyring.KEKMode, keyring.KEKVolatile, keyring.KEKAdvances, keyring.NoSwap)
	add(keyring.AreaKafka, "topic t", warden.RetentionTime, warden.OtherGroups)
	return all
}

func with(area keyring.Area, condition keyring.Condition, verdict keyring.Verdict) []keyring.Finding {
	all := attested()
	i := slices.IndexFunc(all, func(f keyring.Finding) bool { return f.Area == area && f.Condition == condition })
	all[i].Verdict = verdict
	return all
}

func without(area keyring.Area) []keyring.Finding {
	return slices.DeleteFunc(attested(), func(f keyring.Finding) bool { return f.Area == area })
}

func TestAssess(t *testing.T) {
	t.Parallel()
	covered := func(e warden.Evidence) warden.Evidence {
		e.KafkaCovered = true
		return e
	}
	witnessed := func(e warden.Evidence) warden.Evidence {
		e.Witnessed = true
		return e
	}
	of := func(findings []keyring.Finding) warden.Evidence { return warden.Evidence{Findings: findings} }
	oneLess := slices.DeleteFunc(attested(), func(f keyring.Finding) bool {
		return f.Subject == "1" && f.Condition == keyring.Replicas
	})
	for name, test := range map[string]struct {
		evidence warden.Evidence
		want     int
	}{
		"nothing":                              {warden.Evidence{}, 0},
		"nothing but promises":                 {covered(witnessed(warden.Evidence{})), 0},
		"all attested":                         {of(attested()), 2},
		"Kafka covered":                        {covered(of(attested())), 2},
		"witnessed":                            {witnessed(of(attested())), 2},
		"both":                                 {covered(witnessed(of(attested()))), 3},
		"keyring with an append-only file":     {covered(witnessed(of(with(keyring.AreaKeyring, keyring.AppendOnly, keyring.Fail)))), 0},
		"keyring with a replica":               {of(with(keyring.AreaKeyring, keyring.Replicas, keyring.Fail)), 0},
		"CONFIG refused":                       {covered(witnessed(of(with(keyring.AreaKeyring, keyring.Snapshots, keyring.Unattested)))), 1},
		"a node of which a condition was left": {of(oneLess), 1},
		"no keyring":                           {of(without(keyring.AreaKeyring)), 1},
		"a clock that is not told":             {of(with(keyring.AreaKeyring, keyring.Clock, keyring.Unattested)), 1},
		"key file on a disk":                   {of(with(keyring.AreaKEK, keyring.KEKVolatile, keyring.Fail)), 0},
		"key file unseen":                      {of(with(keyring.AreaKEK, keyring.KEKMode, keyring.Unattested)), 1},
		"no key file":                          {of(without(keyring.AreaKEK)), 1},
		"data's clock wrong":                   {of(with(keyring.AreaRedis, keyring.Clock, keyring.Fail)), 0},
		"data's version not told":              {of(with(keyring.AreaRedis, keyring.Version, keyring.Unattested)), 0},
		"no data's Redis":                      {of(without(keyring.AreaRedis)), 0},
		"data's Redis stalls":                  {of(with(keyring.AreaRedis, keyring.LazyExpiry, keyring.Warn)), 2},
		"data's Redis evicts":                  {of(with(keyring.AreaRedis, keyring.Eviction, keyring.Warn)), 2},
		"slow log":                             {of(with(keyring.AreaKeyring, keyring.SlowLog, keyring.Warn)), 2},
		"a node that is away":                  {of(with(keyring.AreaKeyring, keyring.Answers, keyring.Fail)), 2},
		"topic keeps 7 d":                      {of(with(keyring.AreaKafka, warden.RetentionTime, keyring.Fail)), 0},
		"shared topic":                         {of(with(keyring.AreaKafka, warden.OtherGroups, keyring.Warn)), 2},
		"Kafka not told":                       {of(with(keyring.AreaKafka, warden.RetentionTime, keyring.Unattested)), 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := warden.Assess(test.evidence)
			if got.Level != test.want || got.Meaning == "" || (got.Level < 3) != (len(got.Missing) > 0) {
				t.Errorf("%+v, want level %d", got, test.want)
			}
		})
	}
}

// watched is a guard of one source in a bubble.
type watched struct {
	*warden.Guard
	now      atomic.Pointer[warden.Observation]
	looks    atomic.Int64
	logs     *observer.ObservedLogs
	registry *prometheus.Registry
}

func watch(t *testing.T, first warden.Observation, registry *prometheus.Registry) *watched {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	w := &watched{logs: logs, registry: registry}
	w.now.Store(&first)
	source := warden.Source{Every: 10 * time.Second, Look: func(context.Context) warden.Observation {
		w.looks.Add(1)
		return *w.now.Load()
	}}
	var err error
	w.Guard, err = warden.NewGuard(warden.GuardDependencies{Sources: []warden.Source{source}, Log: zap.New(core), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// see lets the guard look the next time.
func (w *watched) see(findings []keyring.Finding) {
	w.now.Store(&warden.Observation{Findings: findings})
	time.Sleep(10 * time.Second)
	synctest.Wait()
}

func gauge(t *testing.T, registry *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no %s{%s}", name, label)
	return 0
}

func TestGuardLogsEachChangeOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := watch(t, warden.Observation{Findings: attested()}, prometheus.NewRegistry())
		if level := w.Assurance().Level; level != 0 {
			t.Errorf("level %d before anything was looked at", level)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		level := func(want int) {
			t.Helper()
			if got := w.Assurance().Level; got != want || gauge(t, w.registry, "mayfly_assurance_level", "") != float64(want) {
				t.Errorf("level %d, want %d", got, want)
			}
		}
		lines := func(message string, want int) {
			t.Helper()
			if got := w.logs.FilterMessage(message).Len(); got != want {
				t.Errorf("%q %d times, want %d", message, got, want)
			}
		}
		level(2)
		for range 3 {
			w.see(with(keyring.AreaKeyring, keyring.AppendOnly, keyring.Fail))
			level(0)
		}
		lines("a condition of the guarantee does not hold", 1)
		w.see(with(keyring.AreaKeyring, keyring.AppendOnly, keyring.Unattested))
		level(1)
		lines("a condition of the guarantee is in doubt", 1)
		w.see(attested())
		level(2)
		lines("a condition of the guarantee holds again", 1)
		lines("assurance level", 4) // 2, 0, 1, 2
		if looks := w.looks.Load(); looks != 6 {
			t.Errorf("%d looks in 50 s, want one each 10 s", looks)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestGuardMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		// Ingest in the same process has the clock's gauge already.
		theirs := prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mayfly_clock_skew_seconds", Help: "How far a peer's clock is ahead of ours.",
		}, []string{"peer"})
		registry.MustRegister(theirs)
		w := watch(t, warden.Observation{
			Findings: with(keyring.AreaKeyring, keyring.AppendOnly, keyring.Fail),
			Ahead:    map[string]time.Duration{"keyring 0": 3 * time.Second},
			Oldest:   map[string]time.Duration{"t": time.Minute},
		}, registry)
		go func() { _ = w.Run(t.Context()) }()
		synctest.Wait()
		if got := testutil.ToFloat64(theirs.WithLabelValues("keyring 0")); got != 3 {
			t.Errorf("ahead by %v s", got)
		}
		if got := gauge(t, registry, "mayfly_kafka_oldest_record_age_seconds", "t"); got != 60 {
			t.Errorf("the oldest record is %v s old", got)
		}
		w.see(attested()) // neither clock nor topic is told any more
		if got := testutil.ToFloat64(theirs.WithLabelValues("keyring 0")); !math.IsNaN(got) {
			t.Errorf("a clock that is not told is ahead by %v s", got)
		}
		if got := gauge(t, registry, "mayfly_kafka_oldest_record_age_seconds", "t"); !math.IsNaN(got) {
			t.Errorf("a topic that is not told has a record %v s old", got)
		}
	})
}

// No level rests on a part of the looks.
func TestGuardWaitsForEverySource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context) warden.Observation {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
			return warden.Observation{Findings: with(keyring.AreaKafka, warden.RetentionTime, keyring.Fail)}
		}
		quick := func(context.Context) warden.Observation { return warden.Observation{Findings: attested()} }
		g, err := warden.NewGuard(warden.GuardDependencies{
			Sources: []warden.Source{{Every: time.Second, Look: quick}, {Every: time.Second, Look: slow}}, Log: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = g.Run(t.Context()) }()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if level := g.Assurance().Level; level != 0 {
			t.Errorf("level %d before Kafka was looked at", level)
		}
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if a := g.Assurance(); a.Level != 0 || len(a.Missing) != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// That the logs are witnessed counts, and stops to count, with the next look.
func TestTheGuardAsksWhetherTheLogsAreWitnessed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		g, err := warden.NewGuard(warden.GuardDependencies{
			Sources: []warden.Source{{Every: time.Second, Look: func(context.Context) warden.Observation {
				return warden.Observation{Findings: attested()}
			}}},
			Witnessed: func(time.Time) error {
				if away.Load() {
					return errors.New("0 of the 1 witnesses needed")
				}
				return nil
			},
			Log: zap.NewNop(),
		})
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = g.Run(t.Context()) }()
		misses := func() bool {
			time.Sleep(time.Second)
			synctest.Wait()
			return slices.ContainsFunc(g.Assurance().Missing, func(s string) bool { return strings.HasPrefix(s, "receipts:") })
		}
		if misses() {
			t.Errorf("witnessed logs count for nothing: %+v", g.Assurance())
		}
		away.Store(true)
		if !misses() {
			t.Errorf("without witnesses: %+v", g.Assurance())
		}
	})
}
