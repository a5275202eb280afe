package capacity

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func usual() Demand {
	return Demand{
		Rate: 174_000, Peak: 1.6, Window: 24 * time.Hour, IDs: "short8", Sessions: true, Cold: true, Replicas: 1,
		KafkaCopies: 3, NodeGB: 64, KeyringNodes: 3, Lookups: 5, Linger: time.Second,
	}
}

func constants(t *testing.T) Measured {
	t.Helper()
	m, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func planOf(t *testing.T, change func(*Demand)) Plan {
	t.Helper()
	d := usual()
	change(&d)
	p, err := Make(constants(t), d)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func value(t *testing.T, p Plan, part, name string) float64 {
	t.Helper()
	v, ok := p.Find(part, name)
	if !ok {
		t.Fatalf("the plan has no %s: %s", part, name)
	}
	return v
}

func TestEachLineSaysWhereItComesFrom(t *testing.T) {
	t.Parallel()
	p := planOf(t, func(*Demand) {})
	for _, l := range p.Lines {
		if l.From == "" || strings.Contains(l.From, "%!") || math.IsNaN(l.Value) || math.IsInf(l.Value, 0) || l.Value <= 0 {
			t.Errorf("%+v", l)
		}
	}
}

// TestPlanGrows compares plans of two demands that differ in one thing.
func TestPlanGrows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		part, figure string
		less, more   func(*Demand)
	}{
		{"rate", "redis", "memory", func(*Demand) {}, func(d *Demand) { d.Rate *= 10 }},
		{"rate", "ingest", "processes", func(*Demand) {}, func(d *Demand) { d.Rate *= 10 }},
		{"rate", "kafka", "partitions", func(*Demand) {}, func(d *Demand) { d.Rate *= 10 }},
		{"UUIDs", "redis", "memory", func(*Demand) {}, func(d *Demand) { d.IDs = "uuid" }},
		{"no sessions", "redis", "memory", func(d *Demand) { d.Sessions = false }, func(*Demand) {}},
		{"window", "redis", "memory", func(d *Demand) { d.Epoch = 15 * time.Minute }, func(d *Demand) { d.Window, d.Epoch = 48*time.Hour, 15*time.Minute }},
		{"short epochs", "redis", "cold memory", func(*Demand) {}, func(d *Demand) { d.Epoch = 2 * time.Minute }},
		{"no cold tier", "redis", "memory", func(*Demand) {}, func(d *Demand) { d.Cold = false }},
		{"replicas", "redis", "nodes", func(*Demand) {}, func(d *Demand) { d.Replicas = 2 }},
		{"small nodes", "redis", "nodes", func(*Demand) {}, func(d *Demand) { d.NodeGB = 16 }},
		{"peak", "ingest", "cores at the peak", func(*Demand) {}, func(d *Demand) { d.Peak = 3 }},
		{"copies", "kafka", "disk of all brokers", func(d *Demand) { d.KafkaCopies = 1 }, func(*Demand) {}},
		{"look-ups", "desk", "processes", func(*Demand) {}, func(d *Demand) { d.Lookups = 500 }},
		{"window", "keyring", "entries", func(d *Demand) { d.Epoch = 15 * time.Minute }, func(d *Demand) { d.Window, d.Epoch = 48*time.Hour, 15*time.Minute }},
	} {
		less, more := value(t, planOf(t, c.less), c.part, c.figure), value(t, planOf(t, c.more), c.part, c.figure)
		if less >= more {
			t.Errorf("%s: %s %s is %g and then %g", c.name, c.part, c.figure, less, more)
		}
	}
}

// An epoch has 8,192 shards at most: where that makes them large, look-ups take longer, and
// the plan says which flag makes them small again.
func TestLargeShardsAreNamed(t *testing.T) {
	t.Parallel()
	month := func(d *Demand) { d.Window = 30 * 24 * time.Hour }
	large, small := planOf(t, month), planOf(t, func(d *Demand) { month(d); d.Epoch = time.Hour })
	if a, b := value(t, large, "look-up", "of one address over the window"), value(t, planOf(t, func(*Demand) {}), "look-up", "of one address over the window"); a < 2*b {
		t.Errorf("a look-up in shards of half a million events takes %v s, in those of 100,000 %v s", a, b)
	}
	for _, p := range []Plan{large, small} {
		if size, advised := value(t, p, "traffic", "events per shard"), strings.Contains(fmt.Sprint(p.Lines), "choose a shorter --epoch"); advised != (size > 250_000) {
			t.Errorf("shards of %v events: advised a shorter epoch: %v", size, advised)
		}
	}
}

func TestShortWindowsStayHot(t *testing.T) {
	t.Parallel()
	p := planOf(t, func(d *Demand) { d.Window = 5 * time.Minute })
	if _, cold := p.Find("redis", "cold memory"); cold {
		t.Error("a window of five minutes is compacted")
	}
	// A window shorter than a day sees nothing but the peak.
	if live := value(t, p, "traffic", "events that live"); live != 174_000*1.6*300 {
		t.Errorf("%g events live", live)
	}
}

// TestConstantsCount replaces them: the plan follows.
func TestConstantsCount(t *testing.T) {
	t.Parallel()
	m := constants(t)
	p, err := Make(m, usual())
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Curve.Tiers {
		m.Curve.Tiers[i].Hot *= 2
		m.Curve.Tiers[i].Cold *= 2
	}
	twice, err := Make(m, usual())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := value(t, p, "redis", "cold memory"), value(t, twice, "redis", "cold memory"); math.Abs(b/a-2) > 1e-9 {
		t.Errorf("cold memory %g, with twice the bytes an event %g", a, b)
	}
}

// TestCurveGoesThroughItsPoints asks for just what was measured. Two services whose frames have
// as many events differ a little in their hot bytes, and the curve goes between them.
func TestCurveGoesThroughItsPoints(t *testing.T) {
	t.Parallel()
	c := constants(t).Curve
	for _, tier := range c.Tiers {
		if !tier.base() {
			continue
		}
		if hot := c.HotBytes(tier.IDs, tier.Sessions, tier.FrameEvents(1)); math.Abs(hot/tier.hot()-1) > 0.02 {
			t.Errorf("%g/s: %.2f B hot, measured %.2f", tier.Rate, hot, tier.hot())
		}
		if cold := c.ColdBytes(tier.IDs, tier.Sessions, tier.Rate*tier.Epoch, tier.Epoch); math.Abs(cold-tier.Cold) > 0.01 {
			t.Errorf("%g/s in %g s: %.2f B cold, measured %.2f", tier.Rate, tier.Epoch, cold, tier.Cold)
		}
	}
}

func TestWrongDemandsNameTheirFlag(t *testing.T) {
	t.Parallel()
	for flag, change := range map[string]func(*Demand){
		"--rate": func(d *Demand) { d.Rate = math.NaN() }, "--peak": func(d *Demand) { d.Peak = 0.5 },
		"--window": func(d *Demand) { d.Window = 32 * 24 * time.Hour }, "--epoch": func(d *Demand) { d.Epoch = 25 * time.Hour },
		"--epoch: a window has at most 10000 epochs": func(d *Demand) { d.Epoch = time.Second },
		"--ids": func(d *Demand) { d.IDs = "" }, "--replicas": func(d *Demand) { d.Replicas = -1 },
		"--partitions": func(d *Demand) { d.Partitions = -1 }, "--kafka-copies": func(d *Demand) { d.KafkaCopies = 0 },
		"--node-gb": func(d *Demand) { d.NodeGB = 0 }, "--keyring-nodes": func(d *Demand) { d.KeyringNodes = 1 },
		"--lookups": func(d *Demand) { d.Lookups = math.Inf(1) }, "--linger": func(d *Demand) { d.Linger = 0 },
	} {
		d := usual()
		change(&d)
		if _, err := Make(constants(t), d); err == nil || !strings.HasPrefix(err.Error(), flag+":") {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

func TestPartialResultsAreRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Measured){
		"no run":           func(m *Measured) { m.Runs = nil },
		"no curve":         func(m *Measured) { m.Curve.Tiers = nil },
		"no look-up":       func(m *Measured) { m.Curve.Lookups = nil },
		"a run of zeros":   func(m *Measured) { m.Runs = []Run{{Contender: "ingest"}} },
		"a tier of zeros":  func(m *Measured) { m.Curve.Tiers = []Tier{{}} },
		"a look-up of one": func(m *Measured) { m.Curve.Lookups = []Lookup{{Epochs: 1}} },
	} {
		m := constants(t)
		spoil(&m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(strings.NewReader(string(text))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Read(strings.NewReader(strings.Repeat(" ", maxMeasured+1))); err == nil {
		t.Error("a file of any size is read")
	}
}
