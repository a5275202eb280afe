package demo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/client"
	"mayfly/cmd/mayfly/output"
	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/record"
)

// scene is one event of the story, as it was sent.
type scene struct {
	at       time.Time // whole milliseconds
	kind     string
	session  string
	place    netip.Addr
	ports    record.Ports
	epoch    retention.Epoch
	deadline time.Time

	sent  time.Time // acknowledged by Kafka; zero: not yet
	found bool      // by a look-up: from then on none may miss it while it lives
}

// phone tells whether it happened behind a carrier's NAT.
func (s *scene) phone() bool { return s.place.Is4() }

// begins tells whether it opens a chapter that is followed to its end: a new
// session at home, or the same one moving to the phone.
func (s *scene) begins(before *scene) bool {
	return s.kind == "connect" || s.phone() && before != nil && !before.phone()
}

// story knows what the story's account did, tells it, and asks the desk
// about it: what the desk answers must be what was sent.
type story struct {
	desk   client.Client
	policy retention.Policy
	epochs *epochWatch
	tell   func(line string)

	ok       atomic.Int64   // look-ups that agree with what was sent
	patience time.Duration  // with one answer
	settling time.Duration  // an acknowledged event that no look-up finds for longer is lost
	follows  sync.WaitGroup // the chapters that are being followed
	ctx      context.Context
	end      context.CancelFunc

	mu     sync.Mutex // guards scenes, what they say besides their past, and wrong
	scenes []*scene
	wrong  []string
}

func newStory(ctx context.Context, desk string, policy retention.Policy, epochs *epochWatch, tell func(string)) *story {
	s := &story{
		desk: client.Client{Base: desk}, policy: policy, epochs: epochs, tell: tell, patience: patience(policy.Window),
		settling: min(max(policy.Window/2, 2*time.Second), 10*time.Second),
	}
	s.ctx, s.end = context.WithCancel(ctx)
	return s
}

// produce notes an event that is about to be sent: from now on it may be found.
func (s *story) produce(e *event.Event) *scene {
	at := time.UnixMilli(e.Time)
	epoch := s.policy.EpochAt(at)
	next := &scene{
		at: at, kind: e.Kind, session: e.Session, ports: e.Ports,
		place: e.Address.Reveal(), //nolint:forbidigo // nobody's: invented, from a documentation range
		epoch: epoch, deadline: epoch.Deadline(s.policy.Window),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now().Add(-time.Minute))
	s.scenes = append(s.scenes, next)
	return next
}

// forget drops what is long over. Who finds it nevertheless finds what nobody
// has sent.
func (s *story) forget(before time.Time) {
	for len(s.scenes) > 0 && s.scenes[0].deadline.Before(before) {
		s.scenes = s.scenes[1:]
	}
}

// acknowledged tells what is in Kafka, and follows it where a chapter begins.
func (s *story) acknowledged(now *scene) {
	s.mu.Lock()
	now.sent = time.Now()
	var before *scene
	for _, other := range s.scenes {
		if other.at.Before(now.at) {
			before = other
		}
	}
	s.mu.Unlock()
	s.tell(describeScene(now))
	if now.begins(before) && s.ctx.Err() == nil {
		s.follows.Go(func() { s.follow(s.ctx, now) })
	}
}

// close ends the chapters that are being followed.
func (s *story) close() {
	s.end()
	s.follows.Wait()
}

// mistakes are the look-ups that told anything else than what was sent.
func (s *story) mistakes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.wrong...)
}

func (s *story) mistaken(what string, err error) {
	line := what + ": " + err.Error()
	s.mu.Lock()
	s.wrong = append(s.wrong, line)
	s.mu.Unlock()
	s.tell("WRONG: " + line)
}

// follow tells one chapter: found, found until its deadline, and then never again.
func (s *story) follow(ctx context.Context, of *scene) {
	if !s.lookUntilFound(ctx, of) {
		return
	}
	if all, ok := s.look(ctx, "looked up by account", lookup.Request{Account: account}); ok {
		s.tell("looked up by account: " + describeAnswer(all))
	}
	lead := min(s.policy.EpochLength()/4, 500*time.Millisecond)
	if !sleepUntil(ctx, of.deadline.Add(-lead)) {
		return
	}
	if last, ok := s.look(ctx, "looked up before the deadline", of.question()); ok && len(last.Events) > 0 {
		s.tell(fmt.Sprintf("looked up %d ms before its deadline: still there", lead.Milliseconds()))
	}
	if !sleepUntil(ctx, of.deadline) {
		return
	}
	// Nothing may be in an answer after the deadline, purged already or not.
	place, ok1 := s.look(ctx, "looked up by IP and port after the deadline", of.question())
	person, ok2 := s.look(ctx, "looked up by account after the deadline", of.questionByAccount())
	s.tellPurge(ctx, of.epoch)
	if ok1 && ok2 && len(place.Events)+len(person.Events) == 0 {
		s.tell("looked up again by IP and by account: " + describeAnswer(place))
	}
}

// lookUntilFound waits for the event to be stored.
func (s *story) lookUntilFound(ctx context.Context, of *scene) bool {
	for sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) {
		result, err := s.ask(ctx, of.question())
		switch {
		case ctx.Err() != nil:
			return false
		case err != nil:
			s.mistaken("looked up by IP and port", err)
			return false
		case len(result.Events) > 0:
			s.ok.Add(1)
			s.tell("looked up by IP and port: " + describeAnswer(result) + ", receipt " + result.Receipt)
			return true
		case time.Now().After(of.deadline):
			s.mistaken("looked up by IP and port", errors.New("the event was not found as long as it lived"))
			return false
		}
	}
	return false
}

// tellPurge waits for the warden's word on an epoch, and asks the keyring itself.
func (s *story) tellPurge(ctx context.Context, epoch retention.Epoch) {
	status, ok := s.epochs.purged(ctx, epoch)
	if !ok {
		return
	}
	empty := 0
	for _, node := range s.epochs.nodes {
		if left, err := keysLeft(ctx, node, epoch); err == nil && left == 0 {
			empty++
		}
	}
	s.tell(fmt.Sprintf("epoch of %s: key destroyed %d ms after its deadline, verified on %d of %d nodes",
		epoch.StartTime().Format(time.TimeOnly), milliseconds(status.Lag), empty, len(s.epochs.nodes)))
}

// question asks for an event, and for nothing else, by its address and port.
func (s *scene) question() lookup.Request {
	at := s.at.UTC().Format(time.RFC3339Nano)
	return lookup.Request{IP: s.place.String(), Port: new(int(s.ports.First)), From: at, To: at}
}

func (s *scene) questionByAccount() lookup.Request {
	at := s.at.UTC().Format(time.RFC3339Nano)
	return lookup.Request{Account: account, From: at, To: at}
}

func describeScene(s *scene) string {
	where := s.place.String()
	switch {
	case s.phone():
		where += fmt.Sprintf(", ports %d-%d (phone, carrier NAT)", s.ports.First, s.ports.Last)
	default:
		where += fmt.Sprintf(", port %d", s.ports.First)
	}
	switch s.kind {
	case "connect":
		return account + " connects from " + where
	case "disconnect":
		return account + " disconnects"
	}
	return account + " is on from " + where
}

func describeAnswer(r lookup.Result) string {
	if len(r.Events) == 0 {
		if r.PurgedBefore.IsZero() {
			return "nothing"
		}
		return "nothing: purged is all before " + r.PurgedBefore.Local().Format(time.TimeOnly)
	}
	places := map[string]bool{}
	accounts := map[string]bool{}
	for _, e := range r.Events {
		places[e.IP], accounts[e.Account] = true, true
	}
	if len(places) == 1 {
		return output.Plural(len(r.Events), "event") + " of account " + strings.Join(sortedKeys(accounts), ", ")
	}
	return fmt.Sprintf("%s at %d addresses", output.Plural(len(r.Events), "event"), len(places))
}
