package guarantee

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/retention/redisconn/redistest"
)

// 20: clocks that are set wrong, nodes that disagree, machines that stood still.
func clocks(t *testing.T, l *lab) {
	for name, test := range map[string]func(*testing.T, *lab){
		"keyring-ahead":  func(t *testing.T, l *lab) { keyringClock(t, l, "g20-ahead", time.Hour) },
		"keyring-behind": func(t *testing.T, l *lab) { keyringClock(t, l, "g20-behind", -time.Hour) },
		"data-ahead":     dataAhead,
		"suspended":      suspended,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, l)
		})
	}
}

// variant is a system of one part of a case.
func variant(t *testing.T, l *lab, name string) (s *system, topic string) {
	t.Helper()
	s, topic = ownSystem(t, l, arrivalWindow), "guarantee-"+name
	l.kafka.CreateTopic(t, topic, 1, nil)
	p := s.Config["policies"].([]map[string]any)[0]
	p["name"] = name
	delete(p, "match")
	s.Section("kafka")["topics"] = []string{topic}
	return s, topic
}

// keyringClock: one of two keyring nodes has a wrong clock. Events are stored and found as ever, and
// at the deadline the key is gone from both; a contradiction is attested.
// Mutant: a keyring that takes one node's word for the end of an epoch, and with a
// purge that relies on the nodes' own expiry.
func keyringClock(t *testing.T, l *lab, account string, ahead time.Duration) {
	s, name := variant(t, l, account)
	node, _ := redistest.StartSkewed(t, ahead, "--slowlog-max-len", "0")
	s.Keys[1] = node
	s.Section("keyring")["nodes"] = []string{s.Keys[0].URL(), node.URL()}
	warden, desk := s.Start(t, "warden"), s.Start(t, "desk")
	s.ingest(t, name, "only")
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, account, "198.51.100.20"))
	desk.AwaitFound(t, byAccount(account), 1)
	mayflytest.Eventually(t, "the clock is noticed", func() bool {
		return warden.Metric("mayfly_assurance_level") == 0 &&
			warden.Metric(`mayfly_attested_conditions{area="keyring",condition="clock",verdict="fail"}`) == 1
	})
	sleepUntil(deadline(begun, arrivalWindow))
	s.mustHoldNothingDue(t, account, arrivalWindow)
	desk.MustNotFind(t, byAccount(account))
}

// dataAhead: a data Redis that is ahead deletes at once and still answers 1, so nothing is committed
// until its clock is right; then all is read again.
// Mutant: the comparison of clocks taken out of ingest.
func dataAhead(t *testing.T, l *lab) {
	const account = "g20-data"
	s, name := variant(t, l, account)
	data, clock := redistest.StartSkewed(t, 0)
	s.Data = data
	s.Section("redis")["addrs"] = []string{data.Addr}
	warden, desk := s.Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	ingest := s.ingest(t, name, "only")
	ingest.AwaitReady(t)
	clock.Set(t, time.Hour)
	mayflytest.Eventually(t, "ingest waits", func() bool {
		status, _ := ingest.Get("/readyz")
		return status == http.StatusServiceUnavailable
	})
	produce(t, l.kafka, name, connects(freshEpoch(), account, "198.51.100.21"))
	time.Sleep(2 * time.Second) // more than the delay of commits
	if n := s.committed(t, name+"-only"); n > 0 {
		t.Errorf("%d events are committed that Redis has deleted", n)
	}
	clock.Set(t, 0)
	ingest.AwaitReady(t)
	found := 0
	mayflytest.Eventually(t, "an event is found again", func() bool {
		found = len(desk.Look(t, byAccount(account)).Events)
		return found == 1
	})
}

// suspended: a desk that stood still over the deadline, its caches warm, has nothing to say when it
// goes on; nor has a keyring node that stood still anything left.
// Mutant: keys cached for longer, and the look at the deadline taken out of the
// look-up.
func suspended(t *testing.T, l *lab) {
	const account = "g20-suspended"
	s, name := variant(t, l, account)
	s.Start(t, "warden").AwaitReady(t)
	desk := s.Start(t, "desk")
	s.ingest(t, name, "only")
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, account, "198.51.100.22"))
	desk.AwaitFound(t, byAccount(account), 1)
	desk.Signal(t, syscall.SIGSTOP)
	s.Keys[1].Suspend(t)
	sleepUntil(deadline(begun, arrivalWindow).Add(100 * time.Millisecond))
	desk.Signal(t, syscall.SIGCONT)
	if _, body := desk.Ask(byAccount(account)); strings.Contains(body, "198.51.100.22") { // with a node that hangs it may refuse
		t.Error("the desk tells the event after its deadline")
	}
	s.Keys[1].Resume(t)
	mayflytest.Eventually(t, "the desk answers", func() bool {
		status, _ := desk.Ask(byAccount(account))
		return status == http.StatusOK
	})
	desk.MustNotFind(t, everyWay(account, "198.51.100.22", begun)...)
	s.mustHoldNothingDue(t, account, arrivalWindow)
}
