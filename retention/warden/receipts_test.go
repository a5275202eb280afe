package warden_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
	"mayfly/retention/receipts/receiptstest"
)

// paper is a receipt log that can be made to refuse.
type paper struct {
	*receipts.Log
	out atomic.Bool
}

var errPaper = errors.New("no space left on device")

func (p *paper) Record(ctx context.Context, entries ...receipts.Entry) error {
	if p.out.Load() {
		return errPaper
	}
	return p.Log.Record(ctx, entries...)
}

// written starts a warden that keeps receipts in dir.
func written(t *testing.T, dir string, change ...func(*post)) (*post, *paper) {
	t.Helper()
	l, err := receipts.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	log := &paper{Log: l}
	return start(t, append(change, func(p *post) { p.receipts = log })...), log
}

// audited checks the log as it is now, as an auditor would.
func audited(t *testing.T, dir string, log *paper) *audit.Result {
	t.Helper()
	r, err := audit.Verify([]string{dir}, audit.Options{Keys: []string{log.VerifierKey()}, To: time.Now(), Grace: receipts.Grace})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// outlive gives three windows to a warden, ends it, and audits its log, which must be sound.
func (p *post) outlive(t *testing.T, dir string, log *paper) *audit.Result {
	t.Helper()
	time.Sleep(3 * policy.Window)
	synctest.Wait()
	p.stop()
	r := audited(t, dir, log)
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return r
}

func found(r *audit.Result) string {
	seen := map[string]bool{}
	for _, f := range r.Findings {
		seen[f.Kind] = true
	}
	var kinds []string
	for kind := range seen {
		kinds = append(kinds, kind)
	}
	return strings.Join(kinds, " ")
}

// Every epoch that a warden saw through is in its log, in time, with its keys.
func TestReceiptsAreComplete(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		r := p.outlive(t, dir, log)
		got := r.Policies[0]
		if got.Purged < 28 || got.NeverMinted > 1 || got.Keys < got.Purged || got.Keys > got.Purged+2 || got.Stored == 0 || got.Lag.Worst > 10 {
			t.Errorf("%+v", got)
		}
		if r.Assurance != "unattested" {
			t.Errorf("assurance %s was attested by nobody", r.Assurance)
		}
	})
}

// A key that can't be written down is not minted; a purge happens all the same,
// and is written down later.
func TestReceiptsThatCanNotBeWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		time.Sleep(policy.Window)
		log.out.Store(true)
		time.Sleep(3 * policy.Epoch)
		synctest.Wait()
		if due, living := p.holding(); due != 0 || living > 8 {
			t.Errorf("without receipts %d due epochs have keys, and %d living ones", due, living)
		}
		if p.overdue(t) != 0 {
			t.Error("epochs that are purged count as overdue")
		}
		if err := p.Ready(); !errors.Is(err, errPaper) {
			t.Errorf("a warden without receipts: %v", err)
		}
		log.out.Store(false)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		if _, living := p.holding(); living != 10 || p.Ready() != nil {
			t.Errorf("%d living epochs, %v", living, p.Ready())
		}
		p.stop()
		if err := audited(t, dir, log).Err(); err != nil {
			t.Errorf("purges that were written down late: %v", err)
		}
	})
}

// A warden that was away learns from its log what it owes.
func TestReceiptsAfterARestart(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]time.Duration{"within a window": 3 * policy.Epoch, "for longer": 5 * policy.Window} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				p, log := written(t, dir)
				time.Sleep(policy.Window)
				p.stop()
				if err := log.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(away)
				if r := audited(t, dir, log); !strings.Contains(found(r), audit.Unpurged) {
					t.Errorf("while it is away: %s", found(r))
				}
				again, err := receipts.Open(dir)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				log.Log = again
				p.run(t)
				time.Sleep(policy.Epoch)
				synctest.Wait()
				p.stop()
				r := audited(t, dir, log)
				if found(r) != audit.Late || r.Policies[0].Missing != 0 {
					t.Errorf("found %q: %v", found(r), r.Err())
				}
				if n := strings.Count(receiptstest.Text(t, dir), `"late":true`); n == 0 {
					t.Error("nothing is marked late")
				}
			})
		})
	}
}

// Epochs of a policy that was removed stay due, and the log says that it was.
func TestReceiptsOfARemovedPolicy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		time.Sleep(policy.Window + time.Second)
		p.stop()
		p.runWith(t, retention.Policy{Name: "another", Window: time.Minute, Epoch: 10 * time.Second})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		p.stop()
		r := audited(t, dir, log)
		if err := r.Err(); err != nil || len(r.Removed) != 1 || r.Removed[0] != "p" || len(r.Policies) != 2 {
			t.Errorf("%v, %+v", err, r)
		}
	})
}

// A shortened window: living keys end sooner than they were announced to.
func TestReceiptsOfAShortenedWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		time.Sleep(policy.Window + time.Second)
		p.stop()
		shorter := policy
		shorter.Window = policy.Window / 2
		p.runWith(t, shorter)
		time.Sleep(2 * policy.Window)
		synctest.Wait()
		p.stop()
		// What the change itself makes due at once was due while the old terms held.
		if r := audited(t, dir, log); r.Err() != nil {
			t.Errorf("%v", r.Findings)
		}
	})
}

// Entries are for good: a keyring that takes no key does not fill the log.
func TestUnpublishedKeysAreFew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		p, _ := written(t, dir, func(p *post) {
			p.ring, _ = keyring.New(&stuffed{p.a, &full}, &stuffed{p.b, &full})
		})
		time.Sleep(policy.Window)
		before := strings.Count(receiptstest.Text(t, dir), `"type":"key"`)
		full.Store(true)
		time.Sleep(policy.Epoch)
		synctest.Wait()
		if n := strings.Count(receiptstest.Text(t, dir), `"type":"key"`) - before; n > 10 {
			t.Errorf("%d keys were announced in an epoch in which none could be published", n)
		}
		p.stop()
	})
}

// stuffed is a node that can be read but takes nothing new while it is full.
type stuffed struct {
	*keyring.MemoryNode
	full *atomic.Bool
}

func (s *stuffed) Publish(ctx context.Context, e retention.Epoch, deadline time.Time, c keyring.Contents) error {
	if s.full.Load() {
		return errors.New("OOM command not allowed when used memory > 'maxmemory'")
	}
	return s.MemoryNode.Publish(ctx, e, deadline, c)
}

// The data and every keyring node are lost at once: what is minted then says that
// something was there before, in the keyring and in the directory. Epochs that
// begin later are none the worse.
func TestALossIsNoBeginning(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		time.Sleep(policy.Window)
		synctest.Wait()
		p.a.Lose()
		p.b.Lose()
		lost := policy.Live(time.Now())
		for _, epoch := range lost {
			if err := p.store.Memory.Unlink(t.Context(), epoch, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(12 * time.Second)
		synctest.Wait()
		for _, epoch := range policy.Live(time.Now()) {
			keys, err := p.ring.Public(t.Context(), epoch)
			if err != nil || len(keys) != 1 {
				t.Fatalf("epoch %v has %d keys, %v", epoch, len(keys), err)
			}
			directories, err := p.store.Directories(t.Context(), []retention.Epoch{epoch})
			if err != nil {
				t.Fatal(err)
			}
			if was := slices.Contains(lost, epoch); keys[0].Successor != was || directories[0].Successor != was {
				t.Errorf("epoch %v, of which something was lost: %v: its key says %v, its directory %v",
					epoch, was, keys[0].Successor, directories[0].Successor)
			}
		}
		time.Sleep(policy.Window)
		synctest.Wait()
		p.stop()
		if err := audited(t, dir, log).Err(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(receiptstest.Text(t, dir), `"successor":true`) {
			t.Error("no receipt says so")
		}
	})
}

// A store that is away when an epoch begins is no loss: the key that was logged
// before it could be opened there is the one that is minted, and is logged once.
func TestAnOutageIsNoLoss(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, _ := written(t, dir)
		time.Sleep(policy.Epoch)
		p.store.closed.Store(true)
		time.Sleep(3 * policy.Epoch)
		p.store.closed.Store(false)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		for _, epoch := range policy.Live(time.Now()) {
			keys, err := p.ring.Public(t.Context(), epoch)
			if err != nil || len(keys) != 1 || keys[0].Successor {
				t.Fatalf("epoch %v has the keys %v, %v", epoch, keys, err)
			}
			if n := strings.Count(receiptstest.Text(t, dir), keys[0].ID.String()); n != 1 {
				t.Errorf("a key is logged %d times", n)
			}
		}
		p.stop()
	})
}

// A window that is lengthened after every mark was lost: what was purged, or was to
// be, stays so, and only epochs that begin later live longer.
func TestALengthenedWindowReachesWhatBeginsLater(t *testing.T) {
	t.Parallel()
	for name, length := range map[string]time.Duration{"epochs as before": policy.Epoch, "other epochs": 3 * policy.Epoch} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				p, log := written(t, dir)
				time.Sleep(3*policy.Window + policy.Epoch/2)
				p.stop()
				changed := time.Now()
				longer := policy
				longer.Window, longer.Epoch = 4*policy.Window, length
				p.a.Lose()
				p.b.Lose()
				p.runWith(t, longer)
				for range 2 * policy.Window / time.Second {
					time.Sleep(time.Second)
					synctest.Wait()
					for _, epoch := range longer.Live(time.Now()) {
						_, holding := p.ring.Holding(t.Context(), epoch)
						due := length == policy.Epoch && !epoch.Deadline(policy.Window).After(time.Now())
						if holding > 0 && epoch.EndTime().Before(changed) && (due || length != policy.Epoch) {
							t.Fatalf("epoch %v, from before the change, has a key", epoch)
						}
						if now := time.Now(); holding == 0 && epoch.StartTime().After(changed) && epoch.StartTime().Before(now.Add(-time.Second)) {
							t.Fatalf("epoch %v has no key", epoch)
						}
					}
				}
				if err := p.Ready(); err != nil {
					t.Error(err)
				}
				// Who has events from before would wait for a key that never comes.
				if before := longer.EpochAt(changed.Add(-2 * length)); !p.ring.Purged(t.Context(), before) {
					t.Errorf("nobody says that epoch %v is over", before)
				}
				// A node that comes up empty is told what has ended.
				p.b.Lose()
				time.Sleep(11 * time.Second)
				synctest.Wait()
				for _, mark := range log.Marks() {
					_, lives, err := p.b.Lives(t.Context(), mark)
					if err != nil || !lives[0].Purged {
						t.Errorf("a node that was restarted takes keys of epoch %v: %v", mark, err)
					}
				}
				time.Sleep(4 * policy.Window)
				synctest.Wait()
				p.stop()
				if err := audited(t, dir, log).Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// As above, after a kill: the lease has not been given back, so the warden stands by for a
// while, and must not take in what its own log has ended.
func TestAStandbyKeepsToItsLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p, log := written(t, dir)
		time.Sleep(2 * policy.Window)
		p.stop()
		longer := policy
		longer.Window = 4 * policy.Window
		for _, node := range []*keyring.MemoryNode{p.a, p.b} {
			if _, _, err := node.Lease(t.Context(), "killed", 5*time.Second); err != nil {
				t.Fatal(err)
			}
		}
		p.runWith(t, longer)
		time.Sleep(2 * longer.Window)
		synctest.Wait()
		p.stop()
		// What came due while nobody had the lease is late.
		if r := audited(t, dir, log); found(r) != "" && found(r) != audit.Late {
			t.Error(r.Findings)
		}
	})
}
