package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
)

// labels say what each contender does.
var labels = map[contender]string{
	groupReader: "kafka-go group Reader, discarding",
	rawFetch:    "raw fetch, discarding",
	ingestion:   "ingest, sealed into Redis, both views",
	sustained:   "ingest, then compaction of the same",
	rsyslogPeer: "rsyslog, a plain string with expiry each",
}

// figure is one column of the table.
type figure struct {
	name string
	of   func(run) float64
}

func eventsPerSecond(r run) float64 { return float64(r.Events) / r.Seconds }
func cpuPerEvent(r run) float64     { return r.CPUMicros }

var figures = []figure{
	{"events/s", eventsPerSecond},
	{"CPU µs/event", cpuPerEvent},
	{"allocs/event", func(r run) float64 { return r.Allocations }},
	{"allocated B/event", func(r run) float64 { return r.Allocated }},
	{"peak RSS MB", func(r run) float64 { return r.PeakMB }},
}

var redisFigures = []figure{
	{"Redis B/event", redisBytes},
	{"Redis CPU µs/event", func(r run) float64 { return r.RedisCPUMicros }},
}

func redisBytes(r run) float64 { return r.RedisBytes }

// series are one contender's figures, by round.
func (c *comparison) series(who contender, of func(run) float64) []float64 {
	var s []float64
	for _, r := range c.Runs {
		if r.Contender == who {
			s = append(s, of(r))
		}
	}
	return s
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// spread is "median (least–most)".
func spread(values []float64) string {
	return fmt.Sprintf("%s (%s–%s)", short(median(values)), short(slices.Min(values)), short(slices.Max(values)))
}

// short writes a number with three significant digits, thousands as k and M.
func short(v float64) string {
	unit := ""
	switch {
	case v >= 999_500:
		v, unit = v/1e6, "M"
	case v >= 9_995:
		v, unit = v/1e3, "k"
	}
	decimals := 0
	if v != 0 {
		decimals = max(0, min(3, 2-int(math.Floor(math.Log10(math.Abs(v))))))
	}
	return strconv.FormatFloat(v, 'f', decimals, 64) + unit
}

// print writes the comparison for people.
func (c *comparison) print(w io.Writer) {
	m, f := c.Machine, c.Traffic
	fmt.Fprintf(w, "\n%s, %d cores shared by contender and servers, %s, %s, %s, Redis %s\n", m.CPU, m.Cores, m.OS, m.Go, m.Kafka, m.Redis)
	fmt.Fprintf(w, "%d events of %.0f B JSON (reference workload: %d events/s, %d accounts), %d partitions, %s;\n",
		f.Events, f.EventBytes, f.Rate, f.Accounts, f.Partitions, f.Codec)
	fmt.Fprintf(w, "window %s, epoch %s; %d interleaved rounds, a process per run; median (least–most)\n\n", f.Window, f.Epoch,
		len(c.Runs)/len(c.who))

	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, column := range figures {
		fmt.Fprintf(t, "\t%s", column.name)
	}
	fmt.Fprintln(t)
	for _, who := range c.who {
		fmt.Fprint(t, labels[who])
		for _, column := range figures {
			fmt.Fprintf(t, "\t%s", spread(c.series(who, column.of)))
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, who := range c.who[2:] {
		for _, column := range redisFigures {
			fmt.Fprintf(w, "%s: %s %s\n", who, column.name, spread(c.series(who, column.of)))
		}
	}
	fmt.Fprintf(w, "that is of %.3g s of a service; of a whole epoch at %s events/s (%d of its %d shards): Redis B/event %.1f, compacted %.1f\n",
		float64(f.Events)/float64(f.Rate), short(c.Whole.Rate), c.Whole.Sampled, c.Whole.Shards, c.Whole.Hot, c.Whole.Cold)
	for _, who := range c.who[1:] {
		fmt.Fprintf(w, "%s : %s = %s × the events/s, %s × the CPU per event\n", who, groupReader,
			spread(c.ratios(who, groupReader, eventsPerSecond)), spread(c.ratios(who, groupReader, cpuPerEvent)))
	}
	for _, line := range c.Absent {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	if l := c.Live; l != nil {
		l.Alone.print(w, "without ingest")
		l.Lookup.print(w, fmt.Sprintf("at %s events/s", short(float64(l.Rate))))
		printGrowth(w, l.Growth)
	}
	printTargets(w, c.Goals)
}

// ratios of one contender to another, each of one round: what slows the machine
// for a while slows both.
func (c *comparison) ratios(of, to contender, figure func(run) float64) []float64 {
	ours, theirs := c.series(of, figure), c.series(to, figure)
	for i := range ours {
		ours[i] /= theirs[i]
	}
	return ours
}
