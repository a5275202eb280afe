package warden

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/keyring"
)

// scriptedAdmin answers with positions, and notes what is asked of it.
type scriptedAdmin struct {
	positions map[int32]Position
	untold    error
	refused   error
	cuts      map[int32]int64
	settings  map[string]string
}

func (a *scriptedAdmin) SetTopic(_ context.Context, _ string, settings map[string]string) error {
	a.settings = settings
	return a.refused
}

func (a *scriptedAdmin) Positions(context.Context, string, string, time.Time) (map[int32]Position, error) {
	return a.positions, a.untold
}

func (a *scriptedAdmin) DeleteRecords(_ context.Context, _ string, before map[int32]int64) error {
	a.cuts = before
	return a.refused
}

func TestStoredRecordsGoAfterAMinute(t *testing.T) {
	t.Parallel()
	admin := &scriptedAdmin{}
	x := NewEnforcer(admin, TopicExpectations{Policies: retention.Policies{{Name: "p", Window: time.Hour}}, Group: "ours"})
	f := &TopicFacts{Name: "t", Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "60000", "segment.ms": "60000"}}
	now := time.Unix(1_763_775_000, 0)
	for _, step := range []struct {
		after     time.Duration
		committed int64
		held      int64
		want      map[int32]int64
	}{
		{0, 10, math.MaxInt64, nil},
		{30 * time.Second, 20, math.MaxInt64, nil},
		{59 * time.Second, 30, math.MaxInt64, nil},
		{60 * time.Second, 40, math.MaxInt64, map[int32]int64{0: 10}},
		{90 * time.Second, 50, math.MaxInt64, map[int32]int64{0: 20}},
		{120 * time.Second, 50, 25, map[int32]int64{0: 25}},            // another group is at 25
		{150 * time.Second, 12, math.MaxInt64, map[int32]int64{0: 12}}, // we read again from 12 on
	} {
		admin.cuts = nil
		admin.positions = map[int32]Position{0: {Start: 5, Expired: 5, Committed: step.committed, Held: step.held}, 1: {Committed: -1, Held: math.MaxInt64}}
		x.Enforce(t.Context(), f, now.Add(step.after))
		if diff := cmp.Diff(step.want, admin.cuts); diff != "" {
			t.Errorf("after %v: %s", step.after, diff)
		}
	}
	if admin.settings != nil {
		t.Errorf("settings that are tight enough were changed: %v", admin.settings)
	}
}

func TestEnforceWhereKafkaRefuses(t *testing.T) {
	t.Parallel()
	refusal := errors.New("TOPIC_AUTHORIZATION_FAILED")
	f := &TopicFacts{Name: "t", Config: map[string]string{"cleanup.policy": "compact", "retention.ms": "-1"}}
	expect := TopicExpectations{Policies: retention.Policies{{Name: "p", Window: time.Hour}}}
	expired := map[int32]Position{0: {Expired: 5, Committed: -1, Held: math.MaxInt64}}
	for name, admin := range map[string]*scriptedAdmin{
		"who reads it": {untold: refusal}, "its settings": {refused: refusal, positions: expired},
	} {
		finding := NewEnforcer(admin, expect).Enforce(t.Context(), f, time.Now())
		if finding.Verdict != keyring.Unattested || finding.Mend == "" || admin.cuts != nil {
			t.Errorf("%s: %+v, cut %v", name, finding, admin.cuts)
		}
		if admin.untold != nil && admin.settings != nil {
			t.Error("a topic of unknown readers was changed")
		}
	}
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	pass := keyring.Finding{Area: keyring.AreaKafka, Verdict: keyring.Pass}
	warn := keyring.Finding{Area: keyring.AreaKafka, Verdict: keyring.Warn}
	judged := func(v keyring.Verdict) keyring.Finding {
		return keyring.Finding{Area: keyring.AreaKafka, Condition: SealedOnly, Verdict: v}
	}
	elsewhere := keyring.Finding{Area: keyring.AreaRedis, Verdict: keyring.Fail}
	for _, test := range []struct {
		coverage Coverage
		findings []keyring.Finding
		want     bool
	}{
		{Coverage{Enforced: true}, []keyring.Finding{pass, pass, elsewhere}, true},
		{Coverage{Enforced: true}, []keyring.Finding{pass, pass, warn}, false},
		{Coverage{Enforced: true}, []keyring.Finding{pass}, false},
		{Coverage{}, []keyring.Finding{pass, pass}, false},
		{Coverage{Sealed: true}, []keyring.Finding{pass, warn}, false},
		{Coverage{Sealed: true}, []keyring.Finding{pass, warn, judged(keyring.Pass)}, true},
		{Coverage{Sealed: true}, []keyring.Finding{pass, judged(keyring.Pass), judged(keyring.Warn)}, false},
		{Coverage{Sealed: true}, []keyring.Finding{pass, judged(keyring.Unattested)}, false},
	} {
		if got := test.coverage.Covers(test.findings); got != test.want {
			t.Errorf("%+v of %v: %v", test.coverage, test.findings, got)
		}
	}
}

// Shorter settings would cut short whoever else reads the topic.
func TestASharedTopicKeepsItsSettings(t *testing.T) {
	t.Parallel()
	f := &TopicFacts{Name: "t", Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}}
	expect := TopicExpectations{Policies: retention.Policies{{Name: "p", Window: time.Hour}}}
	for held, changed := range map[int64]bool{7: false, math.MaxInt64: true} {
		admin := &scriptedAdmin{positions: map[int32]Position{0: {Expired: 5, Committed: -1, Held: held}}}
		finding := NewEnforcer(admin, expect).Enforce(t.Context(), f, time.Now())
		if (admin.settings != nil) != changed || (finding.Verdict == keyring.Pass) != changed {
			t.Errorf("another group at %d: set %v, %+v", held, admin.settings, finding)
		}
	}
}

// Plain addresses in a topic that is to have none are in doubt for as long as they may lie there.
func TestPlainEventsOnASealedTopic(t *testing.T) {
	t.Parallel()
	now := time.Now()
	facts := func(plain, newest int, told bool) TopicFacts {
		return TopicFacts{Name: "t", Config: map[string]string{"segment.ms": "900000"}, Plain: plain, Sampled: newest, SampleTold: told}
	}
	for name, test := range map[string]struct {
		facts TopicFacts
		seen  time.Time
		want  keyring.Verdict
	}{
		"sealed alone":          {facts(0, 32, true), time.Time{}, keyring.Pass},
		"plain among them":      {facts(1, 32, true), now, keyring.Warn},
		"plain, and not all":    {facts(1, 2, false), now, keyring.Warn},
		"plain an hour ago":     {facts(0, 32, true), now.Add(-time.Hour), keyring.Warn},
		"plain two hours ago":   {facts(0, 32, true), now.Add(-2 * time.Hour), keyring.Pass},
		"reading is refused":    {facts(0, 0, false), time.Time{}, keyring.Unattested},
		"seen, and now refused": {facts(0, 0, false), now.Add(-time.Minute), keyring.Warn},
	} {
		expect := TopicExpectations{
			Policies: retention.Policies{{Name: "p", Window: time.Hour}}, Sealed: true, PlainSeen: map[string]time.Time{"t": test.seen},
		}
		var got keyring.Finding
		for _, f := range JudgeTopic(test.facts, expect, now) {
			if f.Condition == SealedOnly {
				got = f
			}
		}
		if got.Verdict != test.want || (got.Mend == "") != (test.want == keyring.Pass) {
			t.Errorf("%s: %+v", name, got)
		}
		expect.Sealed = false
		for _, f := range JudgeTopic(test.facts, expect, now) {
			if f.Condition == SealedOnly {
				t.Errorf("%s: %+v of a topic with plain events", name, f)
			}
		}
	}
}
