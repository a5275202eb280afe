package warden_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/warden"
)

var (
	noon   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	hourly = warden.TopicExpectations{
		Policies: retention.Policies{
			{Name: "long", Window: 24 * time.Hour, Match: map[string][]string{"topic": {"conn*"}}},
			{Name: "short", Window: time.Hour},
			{Name: "elsewhere", Window: time.Minute, Match: map[string][]string{"topic": {"other"}}},
		},
		Group: "mayfly", Skew: 5 * time.Second,
	}
)

// soundTopic forgets within the hour that its shortest policy promises.
func soundTopic() warden.TopicFacts {
	return warden.TopicFacts{
		Name: "connections", Exists: new(true), Partitions: 2, Replicas: 3,
		Config: map[string]string{
			"cleanup.policy": "delete", "retention.ms": "3600000", "segment.ms": "900000",
			"message.timestamp.type": "LogAppendTime", "remote.storage.enable": "false", "file.delete.delay.ms": "60000",
		},
		Oldest: map[int32]time.Time{0: noon.Add(-time.Minute), 1: noon.Add(-time.Hour)}, OldestTold: true,
		Newest: noon, NewestTold: true, Groups: []string{"mayfly"}, GroupsTold: true,
	}
}

type topicVerdicts map[keyring.Condition]keyring.Verdict

func judged(f warden.TopicFacts, e warden.TopicExpectations) (topicVerdicts, string) {
	v := topicVerdicts{}
	var words strings.Builder
	for _, finding := range warden.JudgeTopic(f, e, noon) {
		v[finding.Condition] = finding.Verdict
		if finding.Verdict != keyring.Pass {
			words.WriteString(finding.Saw + " → " + finding.Mend + "\n")
		}
	}
	return v, words.String()
}

func allPass() topicVerdicts {
	return topicVerdicts{
		warden.TopicExists: keyring.Pass, warden.CleanupPolicy: keyring.Pass, warden.RetentionTime: keyring.Pass,
		warden.SegmentTime: keyring.Pass, warden.Timestamps: keyring.Pass, warden.FutureStamps: keyring.Pass,
		warden.TieredStorage: keyring.Pass, warden.OldestRecord: keyring.Pass, warden.OtherGroups: keyring.Pass,
	}
}

func TestJudgeTopic(t *testing.T) {
	t.Parallel()
	set := func(pairs ...string) func(*warden.TopicFacts) {
		return func(f *warden.TopicFacts) {
			for i := 0; i < len(pairs); i += 2 {
				f.Config[pairs[i]] = pairs[i+1]
			}
		}
	}
	for name, test := range map[string]struct {
		change func(*warden.TopicFacts)
		want   topicVerdicts
		says   string
	}{
		"sound": {func(*warden.TopicFacts) {}, nil, ""},
		"retention 7 d": {
			set("retention.ms", "604800000"), topicVerdicts{warden.RetentionTime: keyring.Fail},
			"retention.ms 7d exceeds the shortest window 1h → set retention.ms ≤ 3600000, segment.ms ≤ 900000",
		},
		"retention for ever": {set("retention.ms", "-1"), topicVerdicts{warden.RetentionTime: keyring.Fail}, "for ever"},
		"segments of 7 d": {
			set("segment.ms", "604800000"), topicVerdicts{warden.SegmentTime: keyring.Fail}, "segment.ms 7d exceeds",
		},
		"compact": {
			set("cleanup.policy", "compact", "max.compaction.lag.ms", "9223372036854775807"),
			topicVerdicts{warden.CleanupPolicy: keyring.Fail}, "compaction may wait for ever",
		},
		"compact and delete": {set("cleanup.policy", "compact,delete"), topicVerdicts{warden.CleanupPolicy: keyring.Fail}, "merged"},
		"no clean-up":        {set("cleanup.policy", ""), topicVerdicts{warden.CleanupPolicy: keyring.Fail}, "nothing is ever deleted"},
		"producers' stamps": {
			set("message.timestamp.type", "CreateTime", "message.timestamp.after.max.ms", "9223372036854775807"),
			topicVerdicts{warden.Timestamps: keyring.Warn}, "message.timestamp.type=LogAppendTime",
		},
		"producers' stamps, an hour": {
			set("message.timestamp.type", "CreateTime", "message.timestamp.after.max.ms", "3600000"),
			topicVerdicts{warden.Timestamps: keyring.Warn}, "may be 1h ahead",
		},
		"producers' stamps, bounded": {
			set("message.timestamp.type", "CreateTime", "message.timestamp.after.max.ms", "5000"), nil, "",
		},
		"a stamp 50 min ahead": {
			func(f *warden.TopicFacts) {
				set("message.timestamp.type", "CreateTime")(f)
				f.Newest = noon.Add(50 * time.Minute)
			},
			topicVerdicts{warden.Timestamps: keyring.Warn, warden.FutureStamps: keyring.Fail}, "the latest stamp is 50m ahead",
		},
		"a broker ahead": {
			func(f *warden.TopicFacts) { f.Newest = noon.Add(10 * time.Second) },
			topicVerdicts{warden.FutureStamps: keyring.Fail}, "the brokers' clocks",
		},
		"tiered": {set("remote.storage.enable", "true"), topicVerdicts{warden.TieredStorage: keyring.Unattested}, "remote store"},
		"a partition that was not rolled": {
			func(f *warden.TopicFacts) { f.Oldest[1] = noon.Add(-3 * time.Hour) },
			topicVerdicts{warden.OldestRecord: keyring.Fail}, "3h old, in partition 1; the bound is 1h21m",
		},
		"old, and segments of 7 d excuse nothing": {
			func(f *warden.TopicFacts) {
				set("segment.ms", "604800000")(f)
				f.Oldest[0] = noon.Add(-3 * time.Hour)
			},
			topicVerdicts{warden.SegmentTime: keyring.Fail, warden.OldestRecord: keyring.Fail}, "the bound is 2h6m",
		},
		"shared": {
			func(f *warden.TopicFacts) { f.Groups = []string{"mayfly", "billing"} },
			topicVerdicts{warden.OtherGroups: keyring.Warn}, "1 read it too: billing",
		},
		"who knows who reads it": {
			func(f *warden.TopicFacts) { f.GroupsTold = false },
			topicVerdicts{warden.OtherGroups: keyring.Unattested}, "Describe on the cluster",
		},
		"empty": {
			func(f *warden.TopicFacts) { f.Oldest, f.Newest = nil, time.Time{} }, nil, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := soundTopic()
			f.Config = maps.Clone(f.Config)
			test.change(&f)
			want := allPass()
			maps.Copy(want, test.want)
			got, words := judged(f, hourly)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if !strings.Contains(words, test.says) {
				t.Errorf("%q does not say %q", words, test.says)
			}
		})
	}
}

// What Kafka does not tell never passes.
func TestJudgeTopicUntold(t *testing.T) {
	t.Parallel()
	want := allPass()
	for condition := range want {
		want[condition] = keyring.Unattested
	}
	want[warden.TieredStorage] = keyring.Unattested
	got, _ := judged(warden.TopicFacts{Name: "connections"}, hourly)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	got, _ = judged(warden.TopicFacts{Name: "connections", Exists: new(false)}, hourly)
	if diff := cmp.Diff(topicVerdicts{warden.TopicExists: keyring.Warn}, got); diff != "" {
		t.Error(diff)
	}
}

// Only the policies that may match a topic's events bound it.
func TestTopicWindow(t *testing.T) {
	t.Parallel()
	f := soundTopic()
	for name, want := range map[string]keyring.Verdict{"connections": keyring.Pass, "other": keyring.Fail} {
		f.Name = name
		if got, _ := judged(f, hourly); got[warden.RetentionTime] != want {
			t.Errorf("%s: %s, want %s", name, got[warden.RetentionTime], want)
		}
	}
	day := hourly
	day.Policies = hourly.Policies[:1]
	f.Name, f.Config["retention.ms"] = "connections", "86400000"
	if got, _ := judged(f, day); got[warden.RetentionTime] != keyring.Pass {
		t.Error("a day is not within a day")
	}
	f.Name = "what no policy matches"
	if got, _ := judged(f, day); got[warden.RetentionTime] != keyring.Pass {
		t.Error("no bound for a topic that no policy matches")
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	f := soundTopic()
	if got, want := f.Bound(time.Hour), 81*time.Minute; got != want { // 1 h + 15 min + 5 min + 60 s
		t.Errorf("%v, want %v", got, want)
	}
	f.CheckInterval, f.Config["file.delete.delay.ms"] = time.Second, "1000"
	if got, want := f.Bound(time.Hour), 75*time.Minute+2*time.Second; got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// What is emitted is what passes.
func TestEmit(t *testing.T) {
	t.Parallel()
	seven := soundTopic()
	seven.Name = "Conn_events"
	seven.Config = map[string]string{"retention.ms": "604800000", "remote.storage.enable": "true"}
	manifests := warden.Emit([]warden.TopicFacts{seven}, hourly, "kafka")
	if len(manifests) != 3 {
		t.Fatalf("%d manifests", len(manifests))
	}
	topic := manifests[0]
	if topic.Kind != "KafkaTopic" || topic.Metadata.Name != "conn-events" || topic.Spec.TopicName != "Conn_events" ||
		topic.Spec.Partitions != 2 || topic.Spec.Replicas != 3 || topic.Metadata.Labels["strimzi.io/cluster"] != "kafka" {
		t.Errorf("%+v", topic)
	}
	mended := soundTopic()
	mended.Config = topic.Spec.Config
	got, words := judged(mended, hourly)
	if diff := cmp.Diff(allPass(), got); diff != "" {
		t.Errorf("%s%s", diff, words)
	}
	for _, acl := range manifests[2].Spec.Authorization.ACLs {
		for _, operation := range acl.Operations {
			if !strings.HasPrefix(operation, "Describe") {
				t.Errorf("the observer may %s %s", operation, acl.Resource.Type)
			}
		}
	}
	enforcing := hourly
	enforcing.Enforce = true
	manifests = warden.Emit([]warden.TopicFacts{seven}, enforcing, "kafka")
	want := []string{"Describe", "DescribeConfigs", "AlterConfigs", "Delete"}
	if diff := cmp.Diff(want, manifests[2].Spec.Authorization.ACLs[0].Operations); diff != "" {
		t.Error(diff)
	}
}
