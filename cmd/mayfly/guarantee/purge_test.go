package guarantee

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/retention"
	"mayfly/retention/receipts/audit"
	"mayfly/retention/redisconn/redistest"
)

// The purge itself: on time without traffic, and never taken for done when it is not.

const purgeWindow = 6 * time.Second

// account is what the logs say of a policy, later purges excused.
func (s *system) account(t testing.TB, policy string) (p audit.PolicyResult) {
	t.Helper()
	folder := filepath.Join(s.Folder, "receipts", "warden")
	out, _ := exec.Command(mayfly, "audit", "verify", folder, "--key", filepath.Join(folder, "receipts.pub"), "--output", "json").Output()
	var result audit.Result
	if json.Unmarshal(out, &result) != nil {
		return p // it is being written to
	}
	for _, p := range result.Policies {
		if p.Name == policy {
			return p
		}
	}
	return p
}

// mustBeSound expects that every epoch that came due has its end in the logs, whenever that came.
func (s *system) mustBeSound(t testing.TB) {
	t.Helper()
	var text string
	mayflytest.Eventually(t, "the logs account for every epoch", func() (sound bool) {
		text, sound = s.audit(t, "--grace", "2m")
		return sound
	}, func() { t.Log(text) })
}

// 01: epochs without an event are minted and purged like the others, in time.
// Mutant: a warden that purges only what it knows to hold records.
func zeroTraffic(t *testing.T, l *lab) {
	sleepUntil(time.Now().Add(purgeWindow + 3*epochLength))
	var p audit.PolicyResult
	mayflytest.Eventually(t, "five epochs are accounted for", func() bool {
		p = l.account(t, "g01")
		return p.Epochs >= 5
	}, func() { t.Log(p) })
	if p.Purged != p.Epochs || p.Missing > 0 || p.Late > 0 {
		t.Errorf("of %d epochs %d purged, %d missing, %d late", p.Epochs, p.Purged, p.Missing, p.Late)
	}
	l.mustHoldNothingDue(t, "g01", purgeWindow)
	if n := l.warden.Metric("mayfly_retention_purge_lag_seconds_count"); n < 5 {
		t.Errorf("%v purges measured", n)
	}
}

// 02: while a keyring node can't be purged the purge counts as failed, although the
// node's own clock ends the keys too: in readiness, metrics and receipts.
// Mutant: the node's error left out of what a purge comes to.
func blockedPurge(t *testing.T, l *lab) {
	blocks := map[string]struct {
		block, release func(testing.TB, *redistest.Server)
	}{
		"read-only": {readOnly, writable},
		"hung":      {func(t testing.TB, s *redistest.Server) { s.Suspend(t) }, func(t testing.TB, s *redistest.Server) { s.Resume(t) }},
	}
	for name, b := range blocks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ownSystem(t, l, purgeWindow)
			warden := s.Start(t, "warden")
			warden.AwaitReady(t)
			b.block(t, s.Keys[1])
			mayflytest.Eventually(t, "a due epoch is not accounted for", func() bool { return s.account(t, "g02").Missing > 0 })
			mayflytest.Eventually(t, "the warden says so", func() bool {
				status, _ := warden.Get("/readyz")
				return status != http.StatusOK && warden.Metric("mayfly_retention_overdue_epochs") > 0
			})
			b.release(t, s.Keys[1])
			mayflytest.Eventually(t, "nothing is overdue", func() bool { return warden.Metric("mayfly_retention_overdue_epochs") == 0 })
			warden.AwaitReady(t)
			s.mustBeSound(t)
		})
	}
}

// readOnly makes a server refuse writes, as one does that has lost the replicas it needs.
func readOnly(t testing.TB, s *redistest.Server) { set(t, s, "min-replicas-to-write", "1") }
func writable(t testing.TB, s *redistest.Server) { set(t, s, "min-replicas-to-write", "0") }

func set(t testing.TB, s *redistest.Server, name, value string) {
	t.Helper()
	if err := s.Client(t).ConfigSet(t.Context(), name, value).Err(); err != nil {
		t.Fatal(err)
	}
}

// 03: a backlog of purges is counted in full, alarms, and is worked off as soon as that
// can be done.
// Mutant: an alarm that counts the first few only.
func backlog(t *testing.T, l *lab) {
	const policies, most = 12, 40
	s := ownSystem(t, l, purgeWindow)
	var all []map[string]any
	for i := range policies {
		p := policy(caseOf(t), 3*time.Second)
		p["name"], p["epoch"] = "g03-"+string(rune('a'+i)), "1s"
		all = append(all, p)
	}
	s.Config["policies"] = all
	warden := s.Start(t, "warden")
	warden.AwaitReady(t)
	readOnly(t, s.Keys[0])
	mayflytest.Eventually(t, "the backlog is counted", func() bool { return warden.Metric("mayfly_retention_overdue_epochs") > most })
	if status, _ := warden.Get("/readyz"); status == http.StatusOK {
		t.Error("the warden is ready")
	}
	if !strings.Contains(warden.Log(), "retention is not enforced in full") {
		t.Error("no log line says so")
	}
	writable(t, s.Keys[0])
	mayflytest.Eventually(t, "the backlog is worked off", func() bool { return warden.Metric("mayfly_retention_overdue_epochs") == 0 })
	s.mustBeSound(t)
}

// 04: a warden that dies between two steps of a purge leaves it to the next one, which
// finishes and accounts for it.
// Mutant: a warden that does not ask its log what is owed.
func purgerDies(t *testing.T, l *lab) {
	s := ownSystem(t, l, purgeWindow)
	warden := s.Start(t, "warden")
	warden.AwaitReady(t)
	client, node := s.Data.Client(t), s.Keys[0].Client(t)
	for _, name := range keysOf(t, client, "mayfly:*") {
		client.Persist(t.Context(), name) // so that only a purge ends it
	}
	soon := time.Now().Add(time.Second / 2) // what is due before may be gone already
	var first retention.Epoch
	for _, name := range keysOf(t, client, "mayfly:*") {
		epoch, ok := epochOf(name)
		if ok && epoch.Deadline(purgeWindow).After(soon) && (first.Start == 0 || epoch.Start < first.Start) {
			first = epoch
		}
	}
	s.Data.Suspend(t) // the keys can be destroyed, the chunks can't be unlinked
	mayflytest.Eventually(t, "the key is destroyed", func() bool {
		return node.Exists(t.Context(), "mayfly:key:private:"+first.String()).Val() == 0
	})
	warden.Kill()
	s.Data.Resume(t)
	if left := keysOf(t, client, "mayfly:{"+first.String()+"*"); len(left) == 0 {
		t.Fatal("the first warden has finished: the case proves nothing")
	}
	s.Start(t, "warden").AwaitReady(t)
	s.mustHoldNothingDue(t, "g04", purgeWindow)
	s.mustBeSound(t)
}

// 16: keys, chunks and caches end by themselves while the warden's process lives and does
// nothing, and the key-encryption key goes on elsewhere.
// Mutant: entries that have no expiry of their own.
func wardenHangs(t *testing.T, l *lab) {
	s := ownSystem(t, l, arrivalWindow)
	name := topic(t, l.kafka)
	warden, desk := s.Start(t, "warden"), s.Start(t, "desk")
	warden.AwaitReady(t)
	ingest := s.ingest(t, name, "only")
	begun := freshEpoch()
	produce(t, l.kafka, name, connects(begun, "g16", "198.51.100.16"))
	desk.AwaitFound(t, byAccount("g16"), 1)
	var stolen loot
	stolen.steal(t, s.Keys[0].Client(t), "g16")
	stolen.steal(t, s.Data.Client(t), "g16")
	stolen.mustRead(t, s, "g16")
	warden.Signal(t, syscall.SIGSTOP)

	sleepUntil(deadline(time.Now(), arrivalWindow))
	s.mustHoldNothingDue(t, "g16", arrivalWindow)
	desk.MustNotFind(t, byAccount("g16"))
	stolen.mustBeWorthless(t, s, "g16")
	produce(t, l.kafka, name, connects(time.Now(), "g16", "198.51.100.16"))
	mayflytest.Eventually(t, "ingest says that it can't store", func() bool {
		status, _ := ingest.Get("/readyz")
		return status == http.StatusServiceUnavailable
	})
}
