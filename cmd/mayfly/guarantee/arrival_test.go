package guarantee

import (
	"testing"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
)

// What arrives at the wrong time: too early, too late, again.

// 05: an event from the future is refused by its record's own stamp, so that it is
// refused again when it is replayed after that future has come.
// Mutant: the event's time compared with the clock.
func futureEvents(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	stamp := freshEpoch()
	ahead := stamp.Add(8 * time.Second) // more than the skew of 5 s
	produceStamped(t, l.kafka, name, stamp, connects(ahead, "g05-ahead", "198.51.100.5"))
	produceStamped(t, l.kafka, name, stamp, connects(stamp.Add(2*time.Second), "g05-skewed", "198.51.100.5"))
	produceStamped(t, l.kafka, name, stamp.Add(time.Hour), connects(stamp, "g05-stamp", "198.51.100.5"))
	check := func(ingest *process) {
		t.Helper()
		mayflytest.Eventually(t, "each has its result", func() bool {
			return ingest.Events("time_future") == 1 && ingest.Events("stamp_future") == 1 && ingest.Events("stored") == 1
		}, func() { t.Log(ingest.Metric("mayfly_ingest_events_total")) })
		found := l.desk.AwaitFound(t, lookup.Request{IP: "198.51.100.5"}, 1)
		if e := found.Events[0]; e.Account != "g05-skewed" || e.Time.UnixMilli() != stamp.UnixMilli() {
			t.Errorf("%s is found at %v after the stamp", e.Account, e.Time.Sub(stamp))
		}
	}
	check(l.ingest(t, name, "first"))
	sleepUntil(ahead.Add(200 * time.Millisecond))
	check(l.ingest(t, name, "replay"))
}

// 06: an event past its deadline is counted and leaves no trace.
// Mutant: the look at its deadline taken out of ingest.
func lateEvents(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	now := time.Now()
	produce(t, l.kafka, name, connects(now.Add(-arrivalWindow-epochLength), "g06-late", "198.51.100.6"),
		connects(now, "g06-living", "198.51.100.6"))
	ingest := l.ingest(t, name, "only")
	l.desk.AwaitFound(t, lookup.Request{IP: "198.51.100.6"}, 1)
	if expired, stored := ingest.Events("expired"), ingest.Events("stored"); expired != 1 || stored != 1 {
		t.Errorf("%v expired, %v stored, want one each", expired, stored)
	}
	l.mustHoldNothingDue(t, "g06", arrivalWindow)
}

// 07: what was read again after its deadline comes to nothing, and a topic that is
// created again gives its old offsets to new events.
// Mutant: the look at the deadline taken out of ingest, and with the topic's
// UUID left out of the identity of an event.
func replay(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, "g07-before", "198.51.100.7"))
	ingest := l.ingest(t, name, "first")
	l.desk.AwaitFound(t, lookup.Request{IP: "198.51.100.7"}, 1)
	ingest.Kill()

	admin := l.kafka.Admin(t)
	if _, err := admin.DeleteTopic(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	mayflytest.Eventually(t, "the topic is gone", func() bool {
		topics, err := admin.ListTopics(t.Context())
		return err == nil && !topics.Has(name)
	})
	l.kafka.CreateTopic(t, name, 1, nil)
	produce(t, l.kafka, name, connects(begun, "g07-after", "198.51.100.7"))
	second := l.ingest(t, name, "second")
	l.desk.AwaitFound(t, lookup.Request{IP: "198.51.100.7"}, 2)
	mayflytest.Eventually(t, "it is committed", func() bool { return l.committed(t, name+"-second") == 1 })
	second.Kill()

	sleepUntil(deadline(begun, arrivalWindow).Add(time.Second))
	again := l.ingest(t, name, "again")
	mayflytest.Eventually(t, "it is judged again", func() bool { return again.Events("expired") == 1 })
	if n := again.Events("stored"); n != 0 {
		t.Errorf("%v events stored again after their deadline", n)
	}
	l.desk.MustNotFind(t, lookup.Request{IP: "198.51.100.7"}, lookup.Request{Account: "g07-before"}, lookup.Request{Account: "g07-after"})
	l.mustHoldNothingDue(t, "g07", arrivalWindow)
}

// 18: an ingest that was down for longer than the window counts what it missed, and
// goes on with what lives.
// Mutant: the look at the deadline taken out of ingest.
func ingestDown(t *testing.T, l *lab) {
	name := topic(t, l.kafka)
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, "g18", "198.51.100.18"), connects(begun, "g18", "198.51.100.18"))
	sleepUntil(deadline(begun, arrivalWindow).Add(100 * time.Millisecond))
	produce(t, l.kafka, name, connects(time.Now(), "g18", "198.51.100.18"))
	ingest := l.ingest(t, name, "only")
	l.desk.AwaitFound(t, lookup.Request{Account: "g18"}, 1)
	if expired, stored := ingest.Events("expired"), ingest.Events("stored"); expired != 2 || stored != 1 {
		t.Errorf("%v expired, %v stored, want 2 and 1", expired, stored)
	}
	mayflytest.Eventually(t, "all is committed", func() bool { return l.committed(t, name+"-only") == 3 })
	l.mustHoldNothingDue(t, "g18", arrivalWindow)
}

// arrivalWindow leaves time to find an event, also on a busy machine.
const arrivalWindow = 24 * time.Second
