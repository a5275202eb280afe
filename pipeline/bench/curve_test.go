package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"text/tabwriter"
	"time"

	"mayfly/pipeline/capacity"
	"mayfly/retention/store"
)

// tiers are the services whose bytes are measured: the rates, then what else they
// depend on.
func tiers(most int) []service {
	at := func(rate float64, processes int) service {
		return service{
			rate: rate, ids: "short8", sessions: true, processes: processes,
			window: 24 * time.Hour, epoch: 15 * time.Minute, most: most,
		}
	}
	all := []service{at(100, 1), at(1000, 1), at(10_000, 1), at(174_000, 1), at(1_740_000, 8)}
	for _, rate := range []float64{1000, 174_000} {
		uuid := at(rate, 1)
		uuid.ids = "uuid"
		all = append(all, uuid)
	}
	for _, ids := range []string{"short8", "uuid"} {
		bare := at(174_000, 1)
		bare.ids, bare.sessions = ids, false
		all = append(all, bare)
	}
	short := at(174_000, 1)
	short.epoch = 90 * time.Second
	return append(all, short)
}

// BenchmarkCurve measures how bytes and look-ups grow with the rate, whatever b.N
// is: run it with -benchtime 1x.
func BenchmarkCurve(b *testing.B) {
	part := func(name string, measure func(*testing.B, *servers, *capacity.Curve)) {
		b.Run(name, func(b *testing.B) {
			var c capacity.Curve
			measure(b, startServers(b), &c)
			if *resultsFlag != "" {
				save(b, *resultsFlag, c)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	part("bytes", func(b *testing.B, s *servers, c *capacity.Curve) {
		for _, of := range tiers(*sampleFlag) {
			c.Tiers = append(c.Tiers, measureTier(b, s, of))
		}
		printTiers(c.Tiers)
		printTargets(os.Stdout, tierGoals(c.Tiers))
	})
	part("lookups", func(b *testing.B, s *servers, c *capacity.Curve) {
		for _, rate := range []float64{100, 1000, 174_000} {
			of := service{
				rate: rate, ids: "short8", sessions: true, processes: 1, window: 26 * time.Hour, epoch: 15 * time.Minute, most: 1,
			}
			c.Lookups = append(c.Lookups, measureLookup(b, s, of, *epochsFlag, 200))
		}
		printLookups(c.Lookups)
		printTargets(os.Stdout, lookupGoals(c.Lookups))
	})
}

// measureLookup asks for addresses in many epochs, all compacted but the newest. Of
// each epoch one shard is written, the one that a look-up reads.
func measureLookup(t testing.TB, s *servers, of service, epochs, n int) capacity.Lookup {
	t.Helper()
	m := simulate(t, s, of)
	rows := 0
	for back := epochs - 1; back >= 0; back-- {
		rows += m.write(t, m.ago(back))
		if back > 0 {
			m.compact(t, m.ago(back))
		}
	}
	l := capacity.Lookup{Rate: of.rate, Epochs: epochs, Rows: rows / epochs / int(m.written), N: n}
	whole := m.ask(t, n, func(i int) store.Query { return m.one(i, 32, epochs-1) })
	l.P50, l.P99, l.CPU, l.Network, l.Touched = whole.p50, whole.p99, whole.cpu, whole.network, whole.touched
	l.Found = whole.found
	hot := m.ask(t, n, func(i int) store.Query { return m.one(i, 32, 0) })
	l.HotP50, l.HotCPU, l.HotNetwork = hot.p50, hot.cpu, hot.network
	wide := m.ask(t, n/10, func(i int) store.Query { return m.one(i, 24, epochs-1) })
	l.PrefixCPU, l.PrefixFound = wide.cpu, wide.found
	return l
}

// answered are look-ups: seconds, and the mean of the other figures.
type answered struct{ p50, p99, cpu, network, touched, found float64 }

func (m *simulation) ask(t testing.TB, n int, query func(i int) store.Query) answered {
	t.Helper()
	defer asDesk()()
	if _, err := m.reader.Find(t.Context(), query(0)); err != nil { // the keys are open then
		t.Fatalf("looking up: %v", err)
	}
	var a answered
	network, own := m.servers.network(t), ownCPU()
	took := make([]time.Duration, n)
	for i := range took {
		asked := time.Now()
		answer, err := m.reader.Find(t.Context(), query(i))
		if took[i] = time.Since(asked); err != nil || !answer.Complete {
			t.Fatalf("a look-up is complete: %v, %v", answer.Complete, err)
		}
		a.touched += float64(answer.Touched) / float64(n)
		a.found += float64(len(answer.Records)) / float64(n)
	}
	a.cpu = (ownCPU() - own).Seconds() / float64(n)
	a.network = (m.servers.network(t) - network) / float64(n)
	spread := percentilesOf(took)
	a.p50, a.p99 = spread.P50, spread.P99
	return a
}

// one is the query of an IPv4 address of an event, or of the prefix of so many bits that it
// is in, over so many epochs and the one that was current at the beginning: others have no
// key, and what asks for them measures round trips to the keyring.
func (m *simulation) one(i, bits, epochs int) store.Query {
	prefix, _ := m.samples[i*7919%len(m.samples)].Prefix(bits)
	q := store.Query{Prefix: prefix, From: m.ago(epochs).StartTime(), To: m.ago(0).EndTime().Add(-time.Millisecond)}
	if bits == 32 {
		q.Limit = dayLimit
	}
	return q
}

// save adds to a file of results what is in part, and leaves the rest as it is.
func save(t testing.TB, path string, part any) {
	t.Helper()
	all := map[string]json.RawMessage{}
	if text, err := os.ReadFile(path); err == nil && len(text) > 0 {
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatalf("reading the earlier results: %v", err)
		}
	}
	text, err := json.Marshal(part)
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err == nil {
		text, err = json.MarshalIndent(all, "", "  ")
	}
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatalf("writing the results: %v", err)
	}
}

func printTiers(tiers []capacity.Tier) {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nevents/s\tids\tsessions\tepoch s\tshards\tevents/frame\thot B\tcold B\tcompact µs\t")
	for _, r := range tiers {
		fmt.Fprintf(t, "%s\t%s\t%v\t%g\t%d\t%.0f\t%.1f\t%.1f\t%.2f\t\n", short(r.Rate), r.IDs, r.Sessions, r.Epoch, r.Shards,
			r.FrameEvents(1), r.Hot, r.Cold, r.CompactMicros)
	}
	_ = t.Flush()
}

func printLookups(lookups []capacity.Lookup) {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nevents/s\tepochs\tshard rows\tfound\tp50 ms\tp99 ms\tCPU ms\tcold rows touched\tkB\thot epoch: ms, CPU ms\t/24: CPU ms, found\t")
	for _, l := range lookups {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.1f, %.1f\t%.1f, %.0f\t\n", short(l.Rate), l.Epochs, l.Rows, l.Found,
			l.P50*1e3, l.P99*1e3, l.CPU*1e3, l.Touched, l.Network/1e3, l.HotP50*1e3, l.HotCPU*1e3, l.PrefixCPU*1e3, l.PrefixFound)
	}
	_ = t.Flush()
}
