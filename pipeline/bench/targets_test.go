package bench

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"mayfly/pipeline/capacity"
)

// goal is a figure with the bound that it is to keep.
type goal struct {
	Name   string    `json:"name"`
	Values []float64 `json:"values"`
	Bound  float64   `json:"bound"`
	Least  bool      `json:"least"` // the bound is the least, else the most
	Met    bool      `json:"met"`   // by the median
}

func most(name string, bound float64, values ...float64) goal {
	return goal{Name: name, Values: values, Bound: bound, Met: median(values) <= bound}
}

func least(name string, bound float64, values ...float64) goal {
	return goal{Name: name, Values: values, Bound: bound, Least: true, Met: median(values) >= bound}
}

// goals of what was measured.
func (c *comparison) goals() []goal {
	goals := []goal{
		most("ingest, CPU µs per event", 1, c.series(ingestion, cpuPerEvent)...),
		most("ingest, Redis bytes per event", 40, c.series(ingestion, redisBytes)...),
		most("ingest, peak RSS MB", 256, c.series(ingestion, func(r run) float64 { return r.PeakMB })...),
		most("ingest, allocations per event", 0.1, c.series(ingestion, func(r run) float64 { return r.Allocations })...),
		least("ingest, events/s", 174_000, c.series(ingestion, eventsPerSecond)...),
	}
	goals = append(goals,
		most("compaction, CPU µs per event", 0.5, c.series(sustained, func(r run) float64 { return r.Compaction.CPUMicros })...),
		most("compaction, peak RSS MB", 256, c.series(sustained, func(r run) float64 { return r.Compaction.PeakMB })...),
		most(fmt.Sprintf("a whole epoch at %s events/s, compacted: Redis bytes per event", short(c.Whole.Rate)), mostCold, c.Whole.Cold))
	if slices.Contains(c.who, rsyslogPeer) {
		goals = append(goals,
			least("in a burst, a backlog without compaction: ingest : rsyslog, events/s", 6, c.ratios(ingestion, rsyslogPeer, eventsPerSecond)...),
			least("sustained, each event compacted as well: the same", 4, c.ratios(sustained, rsyslogPeer, eventsPerSecond)...))
	}
	if c.Stalled != nil {
		goals = append(goals, most("ingest while Redis is away, peak RSS MB", 256, c.Stalled.PeakMB))
	}
	for _, r := range c.Runs {
		if r.Purge != nil {
			goals = append(goals, r.Purge.goals()...)
			break // the growth shows beside the live part's
		}
	}
	if l := c.Live; l != nil {
		follows := fmt.Sprintf("at %s events/s: ", short(float64(l.Rate)))
		goals = append(goals,
			most(follows+"CPU µs per event", 1, l.Ingest.CPUMicros),
			most(follows+"peak RSS MB", 256, l.Ingest.PeakMB),
			most(follows+"in Kafka until found, p50 s", 1.5, l.Freshness.P50),
			most(follows+"in Kafka until found, p99 s", 3, l.Freshness.P99),
			most(follows+"look-up over 24 h, p50 ms", 25, l.Lookup.P50*1e3),
			most(follows+"look-up over 24 h, p99 ms", 100, l.Lookup.P99*1e3),
			most("look-up over 24 h, alone, p50 ms", 25, l.Alone.P50*1e3),
			most("look-up over 24 h, alone, p99 ms", 100, l.Alone.P99*1e3),
			most("look-up over 24 h, cold rows touched", mostTouchedDay, float64(l.Alone.Cold)),
			most("look-up over 24 h, hot rows touched", mostScanned, float64(l.Alone.Hot)))
		goals = append(goals, l.Purge.goals()...)
	}
	return goals
}

func (p *purge) goals() []goal {
	name := fmt.Sprintf("purge of an epoch of %d events, ", p.Events)
	return []goal{most(name+"ms", 200, p.Seconds*1e3), most(name+"ms another client waits", 10, p.Stall*1e3)}
}

// tierGoals are those of bytes against the rate; of UUIDs the design bounds the cold ones alone.
func tierGoals(tiers []capacity.Tier) []goal {
	var goals []goal
	for _, r := range tiers {
		if r.Rate != 1000 && r.Rate != 174_000 || !r.Sessions || r.Epoch < 900 {
			continue
		}
		at := fmt.Sprintf("at %s events/s, %s: ", short(r.Rate), r.IDs)
		cold := mostColdUUID
		if r.IDs == "short8" {
			cold = mostCold
			goals = append(goals, most(at+"hot, Redis bytes per event", 40, r.Hot))
		}
		goals = append(goals, most(at+"cold, Redis bytes per event", cold, r.Cold), most(at+"compacting, CPU µs per event", 0.5, r.CompactMicros))
	}
	return goals
}

// lookupGoals are those of look-ups against the rate.
func lookupGoals(lookups []capacity.Lookup) []goal {
	var goals []goal
	for _, l := range lookups {
		at := fmt.Sprintf("at %s events/s, %d epochs: look-up, ", short(l.Rate), l.Epochs)
		goals = append(goals, most(at+"p50 ms", 25, l.P50*1e3), most(at+"p99 ms", 100, l.P99*1e3),
			most(at+"cold rows touched", mostTouchedDay, l.Touched))
	}
	return goals
}

// printTargets writes each figure beside its bound.
func printTargets(w io.Writer, goals []goal) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "target\tbound\tmeasured\t")
	for _, g := range goals {
		relation, verdict := "≤", "met"
		if g.Least {
			relation = "≥"
		}
		if !g.Met {
			verdict = "missed"
		}
		fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\n", g.Name, relation, short(g.Bound), spread(g.Values), verdict)
	}
	_ = t.Flush()
	fmt.Fprintln(w)
}
