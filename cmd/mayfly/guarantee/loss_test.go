package guarantee

import (
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
)

// Data that is lost before its time, and data that stays beyond it.

// stored starts every role on a system of the case's own, and has one event of it found.
func stored(t *testing.T, l *lab, account, ip string) (s *system, warden, desk *process, begun time.Time) {
	t.Helper()
	s = ownSystem(t, l, arrivalWindow)
	name := topic(t, l.kafka)
	warden, desk = s.Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	s.ingest(t, name, "only")
	begun = freshEpoch()
	produce(t, l.kafka, name, connects(begun, account, ip))
	desk.AwaitFound(t, lookup.Request{Account: account}, 1)
	return s, warden, desk, begun
}

// 11: a replica that was cut off before the deadline keeps its copy for ever, and nothing in
// it can be read.
// Mutant: a key-encryption key that stands still.
func replicaCutOff(t *testing.T, l *lab) {
	s, _, desk, begun := stored(t, l, "g11", "198.51.100.11")
	replica := replicate(t, s.Data)
	client := replica.Client(t)
	mayflytest.Eventually(t, "the replica has the chunks", func() bool { return living(t, client, "g11") >= living(t, s.Data.Client(t), "g11") })
	var stolen loot
	stolen.steal(t, s.Keys[0].Client(t), "g11")
	stolen.steal(t, client, "g11")
	stolen.mustRead(t, s, "g11")
	cut(t, replica)
	sleepUntil(time.Now().Truncate(epochLength).Add(arrivalWindow))
	if err := client.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if !holdsFrame(t, replica.Dir, &stolen) {
		t.Fatal("the replica's file has none of the frames: the case proves nothing")
	}
	stolen.mustBeWorthless(t, s, "g11")
	desk.MustNotFind(t, everyWay("g11", "198.51.100.11", begun)...)
	other := s.with(func(config map[string]any) {
		config["redis"] = map[string]any{"addrs": []string{replica.Addr}}
		config["desk"] = map[string]any{"listen": "127.0.0.1:0", "receipts_dir": s.Folder + "/other"}
	}).Start(t, "desk")
	other.MustNotFind(t, everyWay("g11", "198.51.100.11", begun)...)
}

// 13: a backup of the data and of the keyring that is restored after the deadline, stripped of
// every expiry, brings nothing back.
// Mutant: a key-encryption key that stands still.
func backupRestored(t *testing.T, l *lab) {
	s, warden, desk, begun := stored(t, l, "g13", "198.51.100.13")
	clients := s.clients(t)
	var before loot
	before.steal(t, clients[1], "g13")
	before.steal(t, clients[0], "g13")
	before.mustRead(t, s, "g13")
	backups := make([]map[string]string, len(clients))
	for i, client := range clients {
		backups[i] = map[string]string{}
		for _, name := range keysOf(t, client, "mayfly:*g13/*") {
			if content := client.Dump(t.Context(), name).Val(); content != "" { // it has not gone since
				backups[i][name] = content
			}
		}
	}
	sleepUntil(time.Now().Truncate(epochLength).Add(arrivalWindow))
	s.mustHoldNothingDue(t, "g13", arrivalWindow)
	warden.Signal(t, syscall.SIGSTOP) // else it destroys at once what has come back
	for i, client := range clients {
		for name, content := range backups[i] {
			if epoch, ok := epochOf(name); ok && !epoch.Deadline(arrivalWindow).After(time.Now()) {
				if err := client.RestoreReplace(t.Context(), name, 0, content).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var restored loot
	restored.steal(t, clients[1], "g13")
	restored.steal(t, clients[0], "g13")
	if len(restored.frames) == 0 {
		t.Fatal("nothing is restored: the case proves nothing")
	}
	before.mustBeWorthless(t, s, "g13")
	desk.MustNotFind(t, everyWay("g13", "198.51.100.13", begun)...)
	warden.Signal(t, syscall.SIGCONT)
	for _, client := range clients[1:] {
		mayflytest.Eventually(t, "the warden destroys what was restored to the keyring", func() bool {
			return len(due(t, []*redis.Client{client}, "g13", arrivalWindow)) == 0
		})
	}
}

// 25: what is past its deadline and not reclaimed is not found, not even with every expiry lost
// and no warden; and the warden that comes ends it.
// Mutant: the looks at the deadline taken out of readers and of questions.
func unreclaimed(t *testing.T, l *lab) {
	s, warden, desk, begun := stored(t, l, "g25", "198.51.100.25")
	warden.Signal(t, syscall.SIGSTOP)
	clients := s.clients(t)
	for _, client := range clients {
		for _, name := range keysOf(t, client, "mayfly:*g25/*") {
			client.Persist(t.Context(), name)
		}
	}
	sleepUntil(deadline(begun, arrivalWindow))
	desk.MustNotFind(t, everyWay("g25", "198.51.100.25", begun)...)
	if len(due(t, clients, "g25", arrivalWindow)) < 5 {
		t.Fatal("the servers have reclaimed it: the case proves nothing")
	}
	warden.Signal(t, syscall.SIGCONT)
	for _, client := range clients {
		mayflytest.Eventually(t, "the warden ends it", func() bool { return len(due(t, []*redis.Client{client}, "g25", arrivalWindow)) == 0 })
	}
}

// 26: an eviction, a failover to an empty server and a lost keyring are told by look-ups:
// finding nothing does not pass for innocence.
// Mutant: what writers say they wrote left out of the look-up.
func lossIsTold(t *testing.T, l *lab) {
	s, _, desk, _ := stored(t, l, "g26", "198.51.100.26")
	client := s.Data.Client(t)
	for _, name := range keysOf(t, client, "mayfly:{g26/*/ip/*") {
		if err := client.Del(t.Context(), name).Err(); err != nil { // as eviction does
			t.Fatal(err)
		}
	}
	told := func(what string, request lookup.Request) {
		t.Helper()
		if result := desk.Look(t, request); result.Complete || len(result.Events) > 0 {
			t.Errorf("after %s: complete: %v, %d events", what, result.Complete, len(result.Events))
		}
	}
	told("an eviction", byIP("198.51.100.26"))
	if err := client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	mayflytest.Eventually(t, "the lost directory shows", func() bool { return !desk.Look(t, byAccount("g26")).Complete })
	told("a failover to an empty server", byAccount("g26"))
}

// 14: a writer that meets an epoch destroyed before its time, by a warden whose window is shorter,
// counts the events of it as purged, stores the others, and brings nothing back.
// Mutant: a keyring that does not tell writers what was purged.
func destroyedEpoch(t *testing.T, l *lab) {
	const long, short = 60 * time.Second, 6 * time.Second
	s := ownSystem(t, l, long)
	name := topic(t, l.kafka)
	warden, desk := s.withWindow(short).Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	begun := freshEpoch()
	sleepUntil(deadline(begun, short))
	mayflytest.Eventually(t, "it is purged", func() bool { return len(due(t, s.clients(t), "g14", short)) == 0 })
	produceStamped(t, l.kafka, name, begun, connects(begun, "g14", "198.51.100.14"))
	produce(t, l.kafka, name, connects(time.Now(), "g14", "198.51.100.14"))
	ingest := s.ingest(t, name, "only")
	mayflytest.Eventually(t, "the living event is found", func() bool { return len(desk.Look(t, byAccount("g14")).Events) == 1 })
	mayflytest.Eventually(t, "each is counted", func() bool { return ingest.Events("purged") == 1 && ingest.Events("stored") == 1 },
		func() { t.Log(ingest.Metric("mayfly_ingest_events_total")) })
	if names := due(t, s.clients(t), "g14", short); len(names) > 0 {
		t.Errorf("%d keys of epochs that were destroyed, the first %s", len(names), names[0])
	}
}
