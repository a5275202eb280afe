package guarantee

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

// What the servers under Mayfly are and do: files, replicas, topics.

// soundTopic is one that the guard has nothing to say against, for windows of an hour.
var soundTopic = map[string]string{"retention.ms": "3600000", "segment.ms": "900000", "message.timestamp.type": "LogAppendTime"}

// 17: each kind of topic that keeps a record past its bound is named: by its segments, its
// cleanup, its stamps.
// Mutant: the judgement of segments, of cleanup and of stamps taken out.
func topicsThatKeep(t *testing.T, l *lab) {
	for name, test := range map[string]struct {
		config map[string]string
		ahead  time.Duration // the record's stamp
		want   []string
	}{
		"sound":    {config: soundTopic},
		"quiet":    {config: with("segment.ms", "604800000"), want: []string{"kafka segments"}},
		"for-long": {config: with("retention.ms", "604800000"), want: []string{"kafka retention"}},
		"compact":  {config: with("cleanup.policy", "compact"), want: []string{"kafka cleanup"}},
		"both":     {config: with("cleanup.policy", "compact,delete"), want: []string{"kafka cleanup"}},
		"future": {config: with("message.timestamp.type", "CreateTime", "message.timestamp.after.max.ms", "9223372036854775807"),
			ahead: 50 * time.Minute, want: []string{"kafka future stamps"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			topic := topicOf(caseOf(t)) + "-" + name
			l.kafka.CreateTopic(t, topic, 1, test.config)
			l.kafka.Produce(t, topic, kgo.NoCompression(), &kgo.Record{Key: []byte("k"), Value: []byte("{}"), Timestamp: time.Now().Add(test.ahead)})
			s := l.with(func(config map[string]any) {
				config["kafka"].(map[string]any)["topics"] = []string{topic}
				config["policies"] = []map[string]any{{"name": "g17", "window": "1h", "basis": "test"}}
			})
			if failed := s.doctor(t); !slices.Equal(failed, test.want) {
				t.Errorf("the doctor names %q, want %q", failed, test.want)
			}
		})
	}
}

// with is a sound topic but for some settings.
func with(changes ...string) map[string]string {
	config := maps.Clone(soundTopic)
	for change := range slices.Chunk(changes, 2) {
		config[change[0]] = change[1]
	}
	return config
}

// doctor lists what fails, as area and condition.
func (s *system) doctor(t testing.TB) (failed []string) {
	t.Helper()
	out, _ := s.Command(t, "doctor", "--output", "json").Output()
	var d struct {
		Findings []keyring.Finding `json:"findings"`
	}
	if err := json.Unmarshal(out, &d); err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Findings {
		if f.Verdict == keyring.Fail {
			failed = append(failed, string(f.Area)+" "+string(f.Condition))
		}
	}
	slices.Sort(failed)
	return slices.Compact(failed)
}

// 27: a keyring node that is given a file or a replica while Mayfly runs is noticed: the assurance
// level falls to 0, and the doctor names it.
// Mutant: the nodes' files and replicas left out of what is attested.
func keyringNotVolatile(t *testing.T, l *lab) {
	s := ownSystem(t, l, time.Hour)
	l.kafka.CreateTopic(t, topicOf(caseOf(t)), 1, soundTopic)
	warden := s.Start(t, "warden")
	level := func(want float64) {
		t.Helper()
		mayflytest.Eventually(t, "the assurance level is right", func() bool {
			return warden.Metric("mayfly_attested_conditions") > 0 && warden.Metric("mayfly_assurance_level") == want
		}, func() { t.Log(warden.Metric("mayfly_assurance_level"), want, s.doctor(t)) })
	}
	level(2)
	set(t, s.Keys[0], "appendonly", "yes")
	replica := replicate(t, s.Keys[1])
	level(0)
	if failed := s.doctor(t); !slices.Equal(failed, []string{"keyring append-only file", "keyring replicas"}) {
		t.Errorf("the doctor names %q", failed)
	}
	set(t, s.Keys[0], "appendonly", "no")
	replica.Kill()
	for _, node := range s.Keys { // they remember the copies that they gave, and the file that they wrote
		if err := node.Client(t).ConfigResetStat(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	level(2)
}

// 30: a replica of a keyring node writes every wrapped key to its dump.rdb while it syncs, and
// keeps it; after the deadline nothing opens what is in that file.
// Mutant: a key-encryption key that stands still.
func replicaDump(t *testing.T, l *lab) {
	s, _, _, _ := stored(t, l, "g30", "198.51.100.30")
	replica := replicate(t, s.Keys[0])
	replica.Kill()
	thief := redistest.Start(t, "--dir", replica.Dir) // reads the file that was left
	var stolen loot
	stolen.steal(t, thief.Client(t), "g30")
	if len(stolen.copies) == 0 {
		t.Fatal("the replica has left no wrapped key in a file: the case proves nothing")
	}
	stolen.steal(t, s.Data.Client(t), "g30")
	stolen.mustRead(t, s, "g30")
	sleepUntil(time.Now().Truncate(epochLength).Add(arrivalWindow))
	stolen.mustBeWorthless(t, s, "g30")
}
