package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"mayfly/abuse/lookup"
)

// The look-ups of the demo say why, as all do.
const (
	caseID = "DEMO-1"
	reason = "test"
)

// patience is how long an answer may be incomplete, or lack what was found
// before. At an epoch's first and last instant, and while a writer is between two
// commands, that is no mistake; a moment later it is. It is shorter than the life
// of an event: else a loss would be forgotten before it counts.
func patience(window time.Duration) time.Duration {
	return min(max(window/6, time.Second), 3*time.Second)
}

// errWrongAnswer: no patience helps.
var errWrongAnswer = errors.New("the answer is wrong")

// look asks, counts what agrees with what was sent, and notes what does not.
func (s *story) look(ctx context.Context, what string, request lookup.Request) (lookup.Result, bool) {
	result, err := s.ask(ctx, request)
	switch {
	case ctx.Err() != nil:
		return result, false
	case err != nil:
		s.mistaken(what, err)
		return result, false
	}
	s.ok.Add(1)
	return result, true
}

// ask asks the desk until its answer agrees with what was sent, or patience ends.
func (s *story) ask(ctx context.Context, request lookup.Request) (lookup.Result, error) {
	request.Case, request.Reason = caseID, reason
	began := time.Now()
	missing := map[*scene]bool{}
	for {
		asked := time.Now()
		result, err := s.desk.Look(ctx, request)
		if err == nil {
			err = s.judge(request, result, asked, time.Now(), missing)
		}
		if err == nil || errors.Is(err, errWrongAnswer) || time.Since(began) > s.patience {
			return result, err
		}
		if !sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) {
			return result, ctx.Err()
		}
	}
}

// judge compares an answer with what was sent. Between asked and answered it
// may have been given at any time. missing carries over from one attempt to the
// next what was not there: it must come before its deadline does.
func (s *story) judge(request lookup.Request, result lookup.Result, asked, answered time.Time, missing map[*scene]bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := map[*scene]bool{}
	for _, e := range result.Events {
		of := s.sceneOf(e)
		switch {
		case of == nil:
			return fmt.Errorf("%w: an event that nobody has sent", errWrongAnswer)
		case !of.deadline.After(asked):
			return fmt.Errorf("%w: an event past its deadline", errWrongAnswer)
		case !covers(request, of):
			return fmt.Errorf("%w: an event that was not asked for", errWrongAnswer)
		}
		of.found, there[of] = true, true
		delete(missing, of)
	}
	for _, of := range s.scenes {
		if covers(request, of) && !there[of] && of.deadline.After(answered) && s.mustBeThere(of, answered) {
			missing[of] = true
		}
	}
	for of := range missing {
		if !of.deadline.After(asked) {
			return fmt.Errorf("%w: an event was missing until its deadline", errWrongAnswer)
		}
	}
	switch {
	case len(missing) > 0:
		return errors.New("an event is missing that was stored")
	case !result.Complete:
		return errors.New("the answer says that it is incomplete")
	}
	return nil
}

func (s *story) mustBeThere(of *scene, now time.Time) bool {
	return of.found || !of.sent.IsZero() && now.Sub(of.sent) > s.settling
}

func (s *story) sceneOf(e lookup.Event) *scene {
	i := slices.IndexFunc(s.scenes, func(of *scene) bool {
		return e.Account == account && e.IP == of.place.String() && e.Time.Equal(of.at) &&
			e.Event == of.kind && e.Session == of.session && e.Port != nil && *e.Port == of.ports.First
	})
	if i < 0 {
		return nil
	}
	return s.scenes[i]
}

// covers reports whether an event is among those that the request asks for.
func covers(request lookup.Request, of *scene) bool {
	if request.From != "" {
		from, _ := time.Parse(time.RFC3339Nano, request.From)
		to, _ := time.Parse(time.RFC3339Nano, request.To)
		if of.at.Before(from) || of.at.After(to) {
			return false
		}
	}
	if request.Account != "" {
		return request.Account == account
	}
	ip, err := netip.ParseAddr(request.IP)
	return err == nil && sameLine(ip, of.place) && of.ports.Contain(uint16(*request.Port))
}

// sameLine: an IPv6 household gets a /64, and a look-up for one of its
// addresses is one for all.
func sameLine(a, b netip.Addr) bool {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	prefix, err := a.Prefix(bits)
	return err == nil && prefix.Contains(b)
}

func sortedKeys(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
