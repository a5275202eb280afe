package guarantee

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/retention"
)

// Windows and policies that change while epochs live.

// keyAt is a key of one server.
type keyAt struct {
	server *redis.Client
	name   string
}

// expiries gives the expiry of each key that names an epoch, in Unix milliseconds; -1 where
// there is none.
func expiries(t testing.TB, clients []*redis.Client, policy string) map[keyAt]int64 {
	t.Helper()
	found := map[keyAt]int64{}
	for _, client := range clients {
		for _, name := range keysOf(t, client, "mayfly:*"+policy+"/*") {
			switch at := client.PExpireTime(t.Context(), name).Val(); at {
			case -2: // it has gone since
			case -1:
				found[keyAt{client, name}] = -1
			default:
				found[keyAt{client, name}] = at.Milliseconds()
			}
		}
	}
	return found
}

// epochsOf lists the epochs of a policy that have a key on a node, with their expiry.
func epochsOf(t testing.TB, client *redis.Client, policy string) map[retention.Epoch]int64 {
	t.Helper()
	found := map[retention.Epoch]int64{}
	for key, at := range expiries(t, []*redis.Client{client}, policy) {
		if epoch, ok := epochOf(key.name); ok {
			found[epoch] = at
		}
	}
	return found
}

func (s *system) withWindow(window time.Duration) *system {
	return s.with(func(config map[string]any) {
		p := config["policies"].([]map[string]any)[0]
		config["policies"] = []map[string]any{{"name": p["name"], "match": p["match"], "epoch": p["epoch"], "basis": "test", "window": window.String()}}
	})
}

// 19: a shortened window reaches everything that is stored; a lengthened one only
// epochs that begin later.
// Mutants: a warden that leaves stored expiries alone, as does its sweep; and one that
// asks its log for no terms, with expiries that are set without LT.
func windowChanges(t *testing.T, l *lab) {
	const long, short = 60 * time.Second, 30 * time.Second
	s := ownSystem(t, l, long)
	clients := s.clients(t)
	warden := s.Start(t, "warden")
	warden.AwaitReady(t)
	warden.Kill()
	beyond := func(window time.Duration) (names []string) {
		for key, at := range expiries(t, clients, "g19") {
			epoch, ok := epochOf(key.name)
			if !ok || at < 0 || at > epoch.Deadline(window).UnixMilli() {
				names = append(names, key.name)
			}
		}
		return names
	}
	if len(beyond(short)) == 0 {
		t.Fatal("no key lives longer than the short window: the case proves nothing")
	}
	warden = s.withWindow(short).Start(t, "warden")
	soon := time.Now().Add(short / 2) // before purges have ended what was not shortened
	mayflytest.Eventually(t, "no key lives longer than the shortened window", func() bool { return len(beyond(short)) == 0 || time.Now().After(soon) })
	if names := beyond(short); len(names) > 0 {
		t.Errorf("%d keys live longer than the shortened window, the first %s", len(names), names[0])
	}
	warden.AwaitReady(t)
	warden.Kill()

	before := expiries(t, clients, "g19")
	changed := time.Now()
	warden = s.withWindow(long).Start(t, "warden")
	warden.AwaitReady(t) // it has seen to every living epoch
	mayflytest.Eventually(t, "two new epochs have the long window", func() bool {
		lengthened := 0
		for epoch, at := range epochsOf(t, clients[1], "g19") {
			if epoch.StartTime().After(changed) && at == epoch.Deadline(long).UnixMilli() {
				lengthened++
			}
		}
		return lengthened >= 2
	})
	for key, at := range expiries(t, clients, "g19") {
		if was, ok := before[key]; ok && at > was {
			t.Errorf("%s lives %d ms longer than before", key.name, at-was)
		}
	}
	s.mustBeSound(t)
}

// 29: a policy that is removed still has its epochs purged and accounted for; an older
// configuration with a longer window brings none of them back.
// Mutants: a warden that purges what its policies name only; and one that asks its log as
// little for what has ended as the keyring asks its purged-through marks.
func oldConfiguration(t *testing.T, l *lab) {
	const window, older = 6 * time.Second, 40 * time.Second
	s := ownSystem(t, l, window)
	node := s.Keys[0].Client(t)
	warden := s.Start(t, "warden")
	warden.AwaitReady(t)
	warden.Kill()
	minted := epochsOf(t, node, "g29")
	if len(minted) == 0 {
		t.Fatal("no epoch has a key: the case proves nothing")
	}
	removed := s.with(func(config map[string]any) {
		other := policy("00_other", window)
		config["policies"] = []map[string]any{other}
	})
	warden = removed.Start(t, "warden")
	var last retention.Epoch
	for epoch := range minted {
		if epoch.Start > last.Start {
			last = epoch
		}
	}
	sleepUntil(last.Deadline(window))
	mayflytest.Eventually(t, "the epochs of the removed policy are accounted for", func() bool {
		return s.account(t, "g29").Purged >= int64(len(minted))
	}, func() { t.Log(s.account(t, "g29")) })
	s.mustHoldNothingDue(t, "g29", window)
	warden.Kill()

	warden = s.withWindow(older).Start(t, "warden")
	mayflytest.Eventually(t, "the older configuration mints again", func() bool {
		return len(epochsOf(t, node, "g29")) > 0
	})
	time.Sleep(epochLength)
	for epoch := range epochsOf(t, node, "g29") {
		if epoch.Start <= last.Start {
			t.Errorf("epoch %v is back after its purge", epoch)
		}
	}
	warden.Kill()
}
