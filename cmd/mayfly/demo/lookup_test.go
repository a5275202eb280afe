package demo

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/retention"
	"mayfly/retention/record"
)

// An answer counts only if it is what was sent: each way of being wrong is seen.
func TestDemoJudge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 7, 10, 0, 20, 0, time.UTC)
	policy := retention.Policy{Name: policyName, Window: 10 * time.Second, Epoch: time.Second}
	at := func(ago time.Duration, ip string, port uint16) *scene {
		when := now.Add(-ago)
		return &scene{
			at: when, kind: "alive", session: "story-1", place: netip.MustParseAddr(ip), ports: record.Ports{First: port, Last: port + 9, Known: true},
			epoch: policy.EpochAt(when), deadline: policy.EpochAt(when).Deadline(policy.Window), sent: when,
		}
	}
	shown := func(s *scene) lookup.Event {
		return lookup.Event{Time: s.at, Account: account, IP: s.place.String(), Port: &s.ports.First, Event: s.kind, Session: s.session}
	}
	byAccount := lookup.Request{Account: account}
	for name, test := range map[string]struct {
		request lookup.Request
		answer  func(dead, old, found, fresh *scene) []lookup.Event
		partial bool
		want    string
		final   bool
	}{
		"all that lives": {request: byAccount, answer: func(_, old, found, fresh *scene) []lookup.Event {
			return []lookup.Event{shown(old), shown(found), shown(fresh)}
		}},
		"a fresh one may be on its way": {request: byAccount, answer: func(_, old, found, _ *scene) []lookup.Event {
			return []lookup.Event{shown(old), shown(found)}
		}},
		"one past its deadline": {request: byAccount, want: "past its deadline", final: true, answer: func(dead, old, found, _ *scene) []lookup.Event {
			return []lookup.Event{shown(dead), shown(old), shown(found)}
		}},
		"one that was found before is missing": {request: byAccount, want: "missing", answer: func(_, old, _, _ *scene) []lookup.Event {
			return []lookup.Event{shown(old)}
		}},
		"one that was sent long ago is missing": {request: byAccount, want: "missing", answer: func(_, _, found, _ *scene) []lookup.Event {
			return []lookup.Event{shown(found)}
		}},
		"somebody else's": {request: byAccount, want: "nobody has sent", final: true, answer: func(_, old, found, _ *scene) []lookup.Event {
			e := shown(old)
			e.Account = "eve"
			return []lookup.Event{e, shown(found)}
		}},
		"another time": {request: byAccount, want: "nobody has sent", final: true, answer: func(_, old, found, _ *scene) []lookup.Event {
			e := shown(old)
			e.Time = e.Time.Add(time.Millisecond)
			return []lookup.Event{e, shown(found)}
		}},
		"more than was asked for": {request: at(8*time.Second, "2001:db8::1", 50_000).question(), want: "not asked for", final: true,
			answer: func(_, old, found, _ *scene) []lookup.Event { return []lookup.Event{shown(old), shown(found)} }},
		"one of two": {request: at(8*time.Second, "2001:db8::1", 50_000).question(),
			answer: func(_, old, _, _ *scene) []lookup.Event { return []lookup.Event{shown(old)} }},
		"a gap": {request: byAccount, want: "incomplete", partial: true,
			answer: func(_, old, found, _ *scene) []lookup.Event { return []lookup.Event{shown(old), shown(found)} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dead, old := at(12*time.Second, "2001:db8::1", 50_000), at(8*time.Second, "2001:db8::1", 50_000)
			found, fresh := at(2*time.Second, "100.96.0.0", 64_528), at(time.Second, "100.96.0.0", 64_528)
			found.found = true
			s := &story{policy: policy, settling: 5 * time.Second, scenes: []*scene{dead, old, found, fresh}}
			result := lookup.Result{Events: test.answer(dead, old, found, fresh), Complete: !test.partial}
			err := s.judge(test.request, result, now, now.Add(5*time.Millisecond), map[*scene]bool{})
			switch {
			case (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want):
				t.Errorf("judged %v, want %q", err, test.want)
			case errors.Is(err, errWrongAnswer) != test.final:
				t.Errorf("%v: final should be %v", err, test.final)
			}
		})
	}
}

// What was missing once may come late, but not too late.
func TestDemoJudgeMissingUntilDeadline(t *testing.T) {
	t.Parallel()
	now := time.Now()
	of := &scene{at: now, place: netip.MustParseAddr("192.0.2.1"), deadline: now.Add(time.Second), found: true}
	s := &story{scenes: []*scene{of}}
	missing := map[*scene]bool{}
	ask, none := lookup.Request{Account: account}, lookup.Result{Complete: true}
	if err := s.judge(ask, none, now, now, missing); err == nil || errors.Is(err, errWrongAnswer) {
		t.Fatalf("the first time: %v", err)
	}
	later := of.deadline.Add(time.Millisecond)
	if err := s.judge(ask, none, later, later, missing); !errors.Is(err, errWrongAnswer) {
		t.Errorf("after the deadline: %v", err)
	}
}

// A desk that is not there is a mistake of the demo.
func TestDemoLookNotesMistakes(t *testing.T) {
	t.Parallel()
	var told []string
	s := newStory(context.Background(), "nowhere", retention.Policy{}, nil, func(line string) { told = append(told, line) })
	s.desk.Base = "nowhere"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s.patience = time.Nanosecond
	if _, ok := s.look(ctx, "looked up", lookup.Request{Account: account}); ok || len(s.mistakes()) != 1 || len(told) != 1 || s.ok.Load() != 0 {
		t.Errorf("ok %v, mistakes %q, told %q", ok, s.mistakes(), told)
	}
}
