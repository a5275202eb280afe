package process

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"mayfly/cmd/mayfly/config"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/warden"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// enforced is a topic of ten records, of which six are older than the window.
type enforced struct {
	kafka    *kafkatest.Cluster
	name     string
	examiner *Examiner
}

func newEnforced(t *testing.T, name string, change func(*config.Config)) *enforced {
	t.Helper()
	kafka := kafkatest.Start(t)
	kafka.CreateTopic(t, name, 2, map[string]string{"retention.ms": "604800000", "segment.ms": "604800000", "message.timestamp.type": "CreateTime"})
	now := time.Now()
	for i := range 10 {
		stamp := now.Add(-2 * time.Hour)
		if i >= 6 {
			stamp = now.Add(-time.Minute)
		}
		kafka.Produce(t, name, kgo.NoCompression(), &kgo.Record{Partition: 0, Timestamp: stamp, Value: fmt.Append(nil, i)})
	}
	c := config.Default()
	c.Kafka.Brokers, c.Kafka.Topics, c.Kafka.Group = kafka.Brokers(), []string{name}, name
	c.Kafka.Guard, c.Kafka.Exclusive = "enforce", true
	c.Redis.Addrs, c.Keyring.Nodes = []string{"localhost:1"}, []string{"redis://localhost:1/0"}
	c.Policies = retention.Policies{{Name: "p", Window: time.Hour, Basis: "test"}}
	if change != nil {
		change(&c)
	}
	x, err := NewExaminer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Close)
	x.enforce(zap.NewNop())
	return &enforced{kafka, name, x}
}

// commit has a group read partition 0 up to an offset.
func (e *enforced) commit(t *testing.T, group string, offset int64) {
	t.Helper()
	var offsets kadm.Offsets
	offsets.AddOffset(e.name, 0, offset, -1)
	if err := e.kafka.Admin(t).CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
}

// look looks once, and gives the verdict on enforcement.
func (e *enforced) look(t *testing.T) keyring.Verdict {
	t.Helper()
	for _, f := range e.examiner.Topics(t.Context()).Findings {
		if f.Condition == warden.TopicEnforced {
			return f.Verdict
		}
	}
	return ""
}

// state is where the log begins, and the settings that enforcement is about.
func (e *enforced) state(t *testing.T) (start int64, settings map[string]string) {
	t.Helper()
	starts, err := e.kafka.Admin(t).ListStartOffsets(t.Context(), e.name)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := starts.Lookup(e.name, 0)
	states, err := e.examiner.inspector.Topics(t.Context(), e.name)
	if err != nil {
		t.Fatal(err)
	}
	settings = maps.Clone(states[0].Config)
	maps.DeleteFunc(settings, func(name, _ string) bool {
		return name != "retention.ms" && name != "segment.ms" && name != "cleanup.policy" && name != "message.timestamp.type"
	})
	return first.Offset, settings
}

var (
	loose = map[string]string{
		"retention.ms": "604800000", "segment.ms": "604800000", "cleanup.policy": "delete", "message.timestamp.type": "CreateTime",
	}
	tight = map[string]string{
		"retention.ms": "3600000", "segment.ms": "900000", "cleanup.policy": "delete", "message.timestamp.type": "LogAppendTime",
	}
)

// expect gives Kafka a moment: a broker describes a setting that was changed a little after it has agreed.
func (e *enforced) expect(t *testing.T, verdict keyring.Verdict, start int64, settings map[string]string) {
	t.Helper()
	if got := e.look(t); got != verdict {
		t.Errorf("verdict %q, want %q", got, verdict)
	}
	began, set := e.state(t)
	for end := time.Now().Add(10 * time.Second); !maps.Equal(set, settings) && time.Now().Before(end); began, set = e.state(t) {
		time.Sleep(50 * time.Millisecond)
	}
	if began != start {
		t.Errorf("the log begins at %d, want %d", began, start)
	}
	if diff := cmp.Diff(settings, set); diff != "" {
		t.Error(diff)
	}
}

// The records that are cut lie in the active segment.
func TestEnforceCutsAtTheWindow(t *testing.T) {
	t.Parallel()
	e := newEnforced(t, "enforced-window", nil)
	e.commit(t, e.name, 2) // we lag, too: what is past its window is nothing to us
	e.expect(t, keyring.Pass, 6, tight)
}

func TestNothingIsDoneUnlessAsked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*config.Config){
		"observe": func(c *config.Config) { c.Kafka.Guard = "observe" },
		"emit":    func(c *config.Config) { c.Kafka.Guard = "emit" },
		"shared":  func(c *config.Config) { c.Kafka.Exclusive = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newEnforced(t, "unenforced-"+name, change).expect(t, "", 0, loose)
		})
	}
}

func TestALaggingGroupIsNeverCut(t *testing.T) {
	t.Parallel()
	e := newEnforced(t, "enforced-shared", nil)
	e.commit(t, "enforced-shared-others", 3)
	e.expect(t, keyring.Warn, 3, loose)
	e.commit(t, "enforced-shared-others", 9) // it has caught up
	e.expect(t, keyring.Warn, 6, loose)
}

// A group that has joined and not committed yet may need everything.
func TestAGroupThatAppearsIsNeverCut(t *testing.T) {
	t.Parallel()
	e := newEnforced(t, "enforced-foreign", nil)
	joined := make(chan struct{})
	client := e.kafka.Client(t, kgo.ConsumerGroup("enforced-foreign-new"), kgo.ConsumeTopics(e.name), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, _ map[string][]int32) { close(joined) }))
	go client.PollFetches(t.Context())
	<-joined
	e.expect(t, keyring.Warn, 0, loose)
}
