package kafkain

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mayfly/pipeline/kafkain/kafkatest"
)

func inspect(t *testing.T, brokers []string, topics ...string) []TopicState {
	t.Helper()
	config := DefaultConfig()
	config.Brokers = brokers
	inspector, err := NewInspector(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inspector.Close)
	states, err := inspector.Topics(t.Context(), topics...)
	if err != nil {
		t.Fatal(err)
	}
	return states
}

func TestInspectorDescribes(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "described", 3, map[string]string{
		"retention.ms": "7200000", "segment.ms": "900000", "message.timestamp.type": "CreateTime",
	})
	now := time.Now().Truncate(time.Millisecond)
	first, last := now.Add(-time.Hour), now.Add(-time.Minute)
	for _, stamp := range []time.Time{first, last} {
		cluster.Produce(t, "described", kgo.NoCompression(), &kgo.Record{Partition: 1, Timestamp: stamp, Value: []byte("x")})
	}
	cluster.Produce(t, "described", kgo.NoCompression(), &kgo.Record{Partition: 2, Timestamp: last, Value: []byte("x")})
	var commit kadm.Offsets
	commit.AddOffset("described", 1, 1, -1)
	for _, group := range []string{"described-ours", "described-theirs"} {
		if err := cluster.Admin(t).CommitAllOffsets(t.Context(), group, commit); err != nil {
			t.Fatal(err)
		}
	}
	states := inspect(t, cluster.Brokers(), "described", "undescribed")
	s := states[0]
	if s.Exists == nil || !*s.Exists || s.Partitions != 3 || s.Replicas != 1 || !s.OldestTold || !s.NewestTold || !s.GroupsTold {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]string{
		"retention.ms": "7200000", "segment.ms": "900000", "message.timestamp.type": "CreateTime", "cleanup.policy": "delete",
	} {
		if s.Config[name] != want {
			t.Errorf("%s is %q, want %q", name, s.Config[name], want)
		}
	}
	if diff := cmp.Diff(map[int32]time.Time{1: first, 2: last}, s.Oldest); diff != "" {
		t.Error(diff)
	}
	if !s.Newest.Equal(last) {
		t.Errorf("the latest stamp is %v, want %v", s.Newest, last)
	}
	groups := map[string]bool{}
	for _, group := range s.Groups {
		groups[group] = true
	}
	if diff := cmp.Diff(map[string]bool{"described-ours": true, "described-theirs": true}, groups); diff != "" {
		t.Error(diff)
	}
	if cluster.Real() && s.CheckInterval != 5*time.Minute {
		t.Errorf("retention is checked each %v", s.CheckInterval)
	}
	if missing := states[1]; missing.Exists == nil || *missing.Exists || missing.Config != nil {
		t.Errorf("a topic that does not exist: %+v", missing)
	}
	topics, err := cluster.Admin(t).ListTopics(t.Context())
	if err != nil || topics.Has("undescribed") {
		t.Errorf("looking has created the topic (%v)", err)
	}
}

// A user who may not see something gets no answer that could pass for a good one.
func TestInspectorIsRefused(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.StartOwn(t,
		kafkatest.With("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
		kafkatest.With("allow.everyone.if.no.acl.found", "true"))
	if !cluster.Real() {
		t.Skip("the embedded broker has no access lists here")
	}
	for _, topic := range []string{"closed", "dark", "open"} {
		cluster.CreateTopic(t, topic, 1, nil)
		cluster.Produce(t, topic, kgo.NoCompression(), &kgo.Record{Value: []byte("x")})
	}
	const us = "User:ANONYMOUS"
	for _, acl := range []*kadm.ACLBuilder{
		// What one rule allows, the lack of others refuses.
		kadm.NewACLs().Topics("closed").Operations(kmsg.ACLOperationDescribe).Allow(us).AllowHosts("*"),
		kadm.NewACLs().Topics("dark").Operations(kmsg.ACLOperationDescribe).Deny(us).DenyHosts("*"),
		kadm.NewACLs().Clusters().Operations(kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs).Deny(us).DenyHosts("*"),
	} {
		results, err := cluster.Admin(t).CreateACLs(t.Context(), acl.ResourcePatternType(kadm.ACLPatternLiteral))
		if err != nil {
			t.Fatal(err)
		}
		for _, result := range results {
			if result.Err != nil {
				t.Fatalf("%v: %s", result.Err, result.ErrMessage)
			}
		}
	}
	config := DefaultConfig()
	config.Brokers = cluster.Brokers()
	inspector, err := NewInspector(config)
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	awaitTrue(t, "the access list's effect", func() bool { // it takes a moment to reach the broker
		states, err := inspector.Topics(t.Context(), "closed", "dark", "open")
		if err != nil {
			return false
		}
		closed, dark, open := states[0], states[1], states[2]
		return closed.Exists != nil && closed.Config == nil && closed.OldestTold &&
			dark.Exists == nil && dark.Config == nil && !dark.OldestTold && !dark.NewestTold &&
			open.Exists != nil && open.Config != nil && !open.GroupsTold && open.CheckInterval == 0
	})
}

func TestInspectorAway(t *testing.T) {
	t.Parallel()
	config := DefaultConfig()
	config.Brokers = []string{"127.0.0.1:1"}
	inspector, err := NewInspector(config)
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := inspector.Topics(ctx, "any"); err == nil {
		t.Error("an answer from nobody")
	}
	config.Topics = nil
	if _, err := NewInspector(config); err == nil {
		t.Error("a configuration without topics")
	}
}

// One broker that does not tell its interval may have any.
func TestLongestCheck(t *testing.T) {
	t.Parallel()
	broker := func(ms string) kadm.ResourceConfig {
		return kadm.ResourceConfig{Configs: []kadm.Config{{Key: "log.retention.check.interval.ms", Value: &ms}}}
	}
	for name, test := range map[string]struct {
		brokers kadm.ResourceConfigs
		want    time.Duration
	}{
		"none":             {nil, 0},
		"two":              {kadm.ResourceConfigs{broker("1000"), broker("3000")}, 3 * time.Second},
		"one is silent":    {kadm.ResourceConfigs{broker("1000"), {}}, 0},
		"one is no number": {kadm.ResourceConfigs{broker("1000"), broker("soon")}, 0},
	} {
		if got := longestCheck(test.brokers); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
