package bench

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"mayfly/pipeline/kafkain/kafkatest"
)

var (
	eventsFlag   = flag.Int("events", 1_000_000, "events in the topic")
	roundsFlag   = flag.Int("rounds", 3, "times that each contender runs")
	resultsFlag  = flag.String("results", "", "file for the results as JSON; empty: a new temporary one")
	rateFlag     = flag.Int("rate", 174_000, "events a second of the live part")
	stallFlag    = flag.Duration("stall", 10*time.Second, "how long Redis is away while ingest reads; 0: never")
	liveFlag     = flag.Duration("live", 20*time.Second, "length of the live part; 0: none")
	sampleFlag   = flag.Int("sample", 2_000_000, "events of an epoch that the curve writes")
	epochsFlag   = flag.Int("epochs", 96, "epochs that the curve's look-ups go through")
	profilesFlag = flag.String("profiles", "", "folder for CPU and allocation profiles of ingest; empty: none")
)

func TestMain(m *testing.M) {
	if task := os.Getenv(taskVariable); task != "" {
		os.Exit(runTask(task))
	}
	// As if an epoch had ended since: what asks the clock again in the middle of a run fails at once,
	// not once in a quarter of an hour.
	began = began.Add(-policy().Epoch)
	kafkatest.Main(m)
}

// BenchmarkIngest is one comparison, whatever b.N is: run it with -benchtime 1x.
func BenchmarkIngest(b *testing.B) {
	path := *resultsFlag
	if path == "" {
		file, err := os.CreateTemp("", "mayfly-bench-*.json")
		if err != nil {
			b.Fatalf("making a file for the results: %v", err)
		}
		_, path = file.Close(), file.Name()
	}
	c := compare(b, kafkatest.Start(b), plan{
		events: *eventsFlag, rounds: *roundsFlag, peers: true, profiles: profilesFolder(b), rate: *rateFlag, live: *liveFlag, stall: *stallFlag,
		cold: *dayRows, hot: *dayHot,
	})
	c.print(os.Stdout)
	save(b, path, c)
	fmt.Printf("results as JSON: %s\n\n", path)
	for _, r := range c.who {
		b.ReportMetric(median(c.series(r, cpuPerEvent)), string(r)+"-cpu-µs/event")
	}
}

// profilesFolder is -profiles as the contenders find it, which run elsewhere.
func profilesFolder(b *testing.B) string {
	b.Helper()
	if *profilesFlag == "" {
		return ""
	}
	folder, err := filepath.Abs(*profilesFlag)
	if err != nil {
		b.Fatalf("finding the folder for profiles: %v", err)
	}
	return folder
}

// TestComparison keeps the harness working: a small comparison is whole. It
// looks at no time.
func TestComparison(t *testing.T) {
	t.Parallel()
	const events = 4000
	c := compare(t, kafkatest.StartEmbedded(t), plan{events: events, rounds: 1, rate: 500, live: 4 * time.Second, stall: 100 * time.Millisecond, cold: 80, hot: 800})
	if len(c.Runs) != len(contenders) {
		t.Fatalf("%d runs, want one of each of %v", len(c.Runs), contenders)
	}
	for i, run := range c.Runs {
		if run.Contender != contenders[i] || run.Events != events || run.Seconds <= 0 || run.CPUMicros <= 0 {
			t.Errorf("run %d: %+v", i, run)
		}
	}
	stored := c.Runs[len(c.Runs)-1]
	if stored.RedisBytes < 10 || stored.RedisCPUMicros <= 0 {
		t.Errorf("Redis holds %.1f bytes an event after %.3f µs: are they there?", stored.RedisBytes, stored.RedisCPUMicros)
	}
	if c.Stalled == nil || c.Stalled.PeakMB <= 0 || stored.Compaction == nil || stored.Compaction.CPUMicros <= 0 {
		t.Errorf("a stall: %+v, compaction: %+v", c.Stalled, stored.Compaction)
	}
	if c.Whole.Hot < 10 || c.Whole.Cold < 5 || c.Whole.Cold > mostCold {
		t.Errorf("a whole epoch: %+v", c.Whole)
	}
	if l := c.Live; l.Freshness.N == 0 || l.Lookup.N == 0 || l.Purge.Seconds <= 0 {
		t.Errorf("the live part: %+v", l)
	}
	path := filepath.Join(t.TempDir(), "results.json")
	save(t, path, c)
	if text, err := os.ReadFile(path); err != nil || !json.Valid(text) {
		t.Errorf("the file of results: %v", err)
	}
}
