package kafkatest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMain(m *testing.M) { Main(m) }

func TestSharedBrokerIsOne(t *testing.T) {
	t.Parallel()
	if first, second := Start(t), Start(t); first != second {
		t.Error("two shared brokers")
	}
	cluster := Start(t)
	cluster.CreateTopic(t, "shared", 2, map[string]string{"retention.ms": "60000"})
	cluster.Produce(t, "shared", kgo.SnappyCompression(), &kgo.Record{Partition: 1, Value: []byte("x")})
	ends, err := cluster.Admin(t).ListEndOffsets(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("shared", 1); end.Offset != 1 {
		t.Errorf("the record is not in partition 1, which ends at %d", end.Offset)
	}
}

func TestDataSurvivesAStop(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *Cluster{
		"own": func(t testing.TB) *Cluster { return StartOwn(t) }, "embedded": StartEmbedded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := start(t)
			brokers := cluster.Brokers()
			cluster.CreateTopic(t, "kept", 1, nil)
			cluster.Produce(t, "kept", kgo.NoCompression(), &kgo.Record{Value: []byte("kept")})
			cluster.Stop(t)
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if cluster.Client(t).Ping(ctx) == nil {
				t.Fatal("a stopped broker answers")
			}
			cluster.StartAgain(t)
			if diff := cmp.Diff(brokers, cluster.Brokers()); diff != "" {
				t.Errorf("another port: %s", diff)
			}
			reader := cluster.Client(t, kgo.ConsumeTopics("kept"))
			ctx, cancel = context.WithTimeout(t.Context(), callLimit)
			defer cancel()
			if records := reader.PollFetches(ctx).Records(); len(records) != 1 || string(records[0].Value) != "kept" {
				t.Errorf("%d records", len(records))
			}
		})
	}
}

func TestQuickPurgeIsQuick(t *testing.T) {
	t.Parallel()
	cluster := StartOwn(t, QuickPurge())
	if !cluster.Real() {
		t.Skip("the embedded broker judges retention each hour")
	}
	cluster.CreateTopic(t, "purged", 1, map[string]string{"retention.ms": "1000", "segment.ms": "1000"})
	cluster.Produce(t, "purged", kgo.NoCompression(), &kgo.Record{Value: []byte("x")})
	admin, begin := cluster.Admin(t), time.Now()
	for {
		starts, err := admin.ListStartOffsets(t.Context(), "purged")
		if err != nil {
			t.Fatal(err)
		}
		if start, _ := starts.Lookup("purged", 0); start.Offset == 1 {
			return
		}
		if time.Since(begin) > 30*time.Second {
			t.Fatal("the record is still there after 30 s")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// fakeTB stands for a test that fails.
type fakeTB struct {
	testing.TB
	failed bool
}

func (f *fakeTB) Fatalf(string, ...any) { f.failed = true }

func TestNoteIsAFailureInCI(t *testing.T) {
	t.Setenv("CI", "true")
	t.Setenv("MAYFLY_TEST_NOTES", "")
	fake := &fakeTB{TB: t}
	note(fake, "no java")
	if !fake.failed {
		t.Error("a missing Kafka passes in CI")
	}
}

func TestNoteIsAppended(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes")
	t.Setenv("CI", "")
	t.Setenv("MAYFLY_TEST_NOTES", path)
	note(t, "no java")
	note(t, "no jars")
	notes, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(notes)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "no java") || !strings.Contains(lines[1], "TestNoteIsAppended") {
		t.Errorf("%q", lines)
	}
}

func TestAbandonedFoldersAreRemoved(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	abandoned := filepath.Join(os.TempDir(), folderPrefix+"999999999-1")
	ours := filepath.Join(os.TempDir(), folderPrefix+"1-1") // process 1 is always alive
	for _, folder := range []string{abandoned, ours} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	removeAbandoned()
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	if err != nil || !slices.Equal(left, []string{ours}) {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestClusterIDIsNoFlag(t *testing.T) {
	t.Parallel()
	for range 1000 {
		if id := clusterID(); len(id) != 22 || id[0] == '-' {
			t.Fatalf("%q", id)
		}
	}
}
