package guarantee

import (
	"bytes"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
)

// What a look-up may say, and until when.

// everyWay asks for the same event by everything that it can be found by.
func everyWay(account, ip string, at time.Time) []lookup.Request {
	bits := "32"
	if strings.Contains(ip, ":") {
		bits = "64"
	}
	return []lookup.Request{
		{Account: account}, {IP: ip}, {Prefix: ip + "/" + bits},
		{Account: account, At: at.UTC().Format(time.RFC3339Nano)},
		{IP: ip, At: at.UTC().Format(time.RFC3339Nano), Tolerance: "1h"},
	}
}

// 10: nothing that was made of a record outlives it: chunk, directory, key, wrap, session,
// cache, answer.
// Mutant: deadlines reckoned from an epoch's end.
func nothingOutlives(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	l.ingest(t, name, "only")
	begun := freshEpoch()
	first := connects(begun, "g10", "198.51.100.10")
	first.Session = "s1"
	last := first
	last.Event = "disconnect"
	produce(t, l.kafka, name, first, last)
	l.desk.AwaitFound(t, byAccount("g10"), 2)
	for _, request := range everyWay("g10", "198.51.100.10", begun) {
		l.desk.AwaitFound(t, request, 2)
	}
	sleepUntil(deadline(begun, arrivalWindow))
	l.desk.MustNotFind(t, everyWay("g10", "198.51.100.10", begun)...)
	l.mustHoldNothingDue(t, "g10", arrivalWindow)
	batch := exec.Command(mayfly, "lookup", "batch", "-", "--desk", l.desk.URL, "--case", mayflytest.Case, "--reason", "test", "--output", "json") //nolint:gosec // the binary under test
	batch.Stdin = bytes.NewBufferString("account\ng10\n")
	out, err := batch.Output()
	if err != nil || bytes.Contains(out, []byte("198.51.100.10")) {
		t.Errorf("a batch says %s (%v)", out, err)
	}
	for _, page := range []string{"/v1/retention", "/metrics", "/readyz"} {
		if _, body := l.desk.Get(page); bytes.Contains([]byte(body), []byte("198.51.100.10")) {
			t.Errorf("%s knows the address", page)
		}
	}
}

// 15: every cache is warm at the deadline, in the process of the desk and in another one, and
// no answer to a question that is asked after it has the event.
// Mutant: deadlines reckoned from an epoch's end, and questions that reach further back.
func warmCaches(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	l.ingest(t, name, "only")
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, "g15", "198.51.100.15"))
	due := deadline(begun, arrivalWindow)
	desks := []*process{l.desk, l.with(func(config map[string]any) {
		desk := config["desk"].(map[string]any)
		desk["receipts_dir"] = desk["receipts_dir"].(string) + "-second"
	}).Start(t, "desk")}
	for _, desk := range desks {
		desk.AwaitFound(t, byAccount("g15"), 1)
	}
	before, after := 0, 0
	for time.Now().Before(due.Add(2 * time.Second)) {
		if wait := time.Until(due); wait > time.Second {
			time.Sleep(wait - time.Second) // the second before is enough
		}
		for i, request := range everyWay("g15", "198.51.100.15", begun) {
			asked := time.Now()
			result := desks[i%2].Look(t, request)
			switch {
			case asked.Before(due):
				before += len(result.Events)
			case len(result.Events) > 0:
				after++
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	if before == 0 || after > 0 {
		t.Errorf("%d answers to questions after the deadline have the event; before it %d had", after, before)
	}
}

// 24: two accounts behind one address of a carrier's NAT in one second are two accounts: without
// the port nobody is named.
// Mutant: the first that fits taken.
func carrierNAT(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	l.ingest(t, name, "only")
	at := freshEpoch()
	one, other := connects(at, "g24-one", "100.64.0.24"), connects(at.Add(300*time.Millisecond), "g24-other", "100.64.0.24")
	one.Port, one.PortEnd, one.Session = 2048, 4095, "a"
	other.Port, other.PortEnd, other.Session = 4096, 6143, "b"
	produce(t, l.kafka, name, one, other)
	l.desk.AwaitFound(t, lookup.Request{Prefix: "100.64.0.24/32"}, 2)
	moment := at.UTC().Format(time.RFC3339Nano)
	result := l.desk.Look(t, lookup.Request{IP: "100.64.0.24", At: moment})
	if !result.Ambiguous || result.Accounts != 2 || len(result.Events) > 0 {
		t.Errorf("ambiguous: %v, %d accounts, %d events told", result.Ambiguous, result.Accounts, len(result.Events))
	}
	for account, port := range map[string]int{"g24-one": 3000, "g24-other": 5000} {
		result := l.desk.Look(t, lookup.Request{IP: "100.64.0.24", At: moment, Port: &port})
		if result.Ambiguous || len(result.Events) != 1 || result.Events[0].Account != account {
			t.Errorf("port %d: ambiguous: %v, %d events", port, result.Ambiguous, len(result.Events))
		}
	}
}

// 28: an address has one identity in all its spellings, and what is no address of a
// peer is refused.
// Mutant: ::ffff:a.b.c.d kept as it is written.
func spellings(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	ingest := l.ingest(t, name, "only")
	four := []string{"203.0.113.28", "::ffff:203.0.113.28", "::FFFF:cb00:711c"}
	six := []string{"2001:db8:28::a1", "2001:DB8:28:0:0:0:0:A1", "2001:0db8:0028::00a1"}
	now := freshEpoch()
	for i, ip := range append(append([]string{}, four...), six...) {
		produce(t, l.kafka, name, connects(now, fmt.Sprint("g28-", i), ip))
	}
	produce(t, l.kafka, name, connects(now, "g28-zone", "fe80::28%eth0"), connects(now, "g28-octal", "203.0.113.028"))
	for _, ip := range append(append([]string{}, four...), six...) {
		l.desk.AwaitFound(t, byIP(ip), 3)
	}
	if n := ingest.Events("stored"); n != 6 {
		t.Errorf("%v events are stored, want 6: a zone and an octal spelling are refused", n)
	}
}

// 21: a look-up whose receipt can't be written is not answered; a purge happens all the same,
// and is written down as soon as that can be done.
// Mutant: the answer sent although its receipt was refused.
func noReceipt(t *testing.T, l *lab) {
	s := ownSystem(t, l, arrivalWindow)
	name := topic(t, l.kafka)
	warden, desk := s.Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	s.ingest(t, name, "only")
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, "g21", "198.51.100.21"))
	desk.AwaitFound(t, byAccount("g21"), 1)
	for _, p := range []*process{warden, desk} {
		limitFiles(t, p, kekBytes)
	}
	status, body := desk.Ask(byAccount("g21"))
	if status != http.StatusServiceUnavailable || bytes.Contains([]byte(body), []byte("198.51.100.21")) {
		t.Errorf("a look-up without a receipt is answered: %d %s", status, body)
	}
	sleepUntil(deadline(begun, arrivalWindow))
	s.mustHoldNothingDue(t, "g21", arrivalWindow)
	mayflytest.Eventually(t, "the warden says that it can't write", func() bool {
		status, _ := warden.Get("/readyz")
		return status != http.StatusOK
	})
	for _, p := range []*process{warden, desk} {
		limitFiles(t, p, noLimit)
	}
	mayflytest.Eventually(t, "the desk answers again", func() bool {
		status, _ := desk.Ask(byAccount("g21"))
		return status == http.StatusOK
	})
	warden.AwaitReady(t)
	s.mustBeSound(t)
}
