package warden

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
)

// ledger is receipts that only count.
type ledger struct {
	Receipts
	entries   []receipts.Entry
	recording func() // or nil
	deadline  time.Time
}

func (l *ledger) Deadline(retention.Epoch, time.Time) (time.Time, bool) { return l.deadline, true }

func (l *ledger) Record(_ context.Context, entries ...receipts.Entry) error {
	if l.recording != nil {
		l.recording()
	}
	l.entries = append(l.entries, entries...)
	return nil
}

// A mint that took its time announces no key for an epoch whose end is written, or
// is being written: the log would say that it came back.
func TestNoKeyIsAnnouncedAfterTheEnd(t *testing.T) {
	t.Parallel()
	epoch := retention.Epoch{Policy: "p", Length: 1000}
	key := keyring.Public{Epoch: epoch, Deadline: time.Unix(10, 0), Shards: 1}
	for name, end := range map[string]func(*Status){
		"purged":        func(s *Status) { s.Purged = true },
		"being written": func(s *Status) { s.account.closing = true },
	} {
		log := &ledger{}
		w := &Warden{config: DefaultConfig(), d: Dependencies{Receipts: log}, epochs: map[retention.Epoch]*Status{}}
		s := w.status(epoch, key.Deadline)
		end(s)
		if err := w.announce(t.Context(), s, key); !errors.Is(err, keyring.ErrDestroyed) || len(log.entries) > 0 {
			t.Errorf("%s: %v, %d entries", name, err, len(log.entries))
		}
	}
}

// An epoch may be over and forgotten before a slow log has taken its key.
func TestAnEpochIsForgottenWhileItsKeyIsAnnounced(t *testing.T) {
	t.Parallel()
	key := keyring.Public{Epoch: retention.Epoch{Policy: "p", Length: 1000}, Deadline: time.Unix(10, 0), Shards: 1}
	log := &ledger{}
	w := &Warden{config: DefaultConfig(), d: Dependencies{Receipts: log}, epochs: map[retention.Epoch]*Status{}}
	s := w.status(key.Epoch, key.Deadline)
	log.recording = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		s.Purged = true
		delete(w.epochs, key.Epoch) // as standbys do
	}
	if err := w.announce(t.Context(), s, key); err != nil || s.account.announcing != 0 || len(log.entries) != 1 {
		t.Errorf("%v, %d being announced, %d entries", err, s.account.announcing, len(log.entries))
	}
}

// An end is not written while a key of the epoch is on its way into the log.
func TestNoEndWhileAKeyIsAnnounced(t *testing.T) {
	t.Parallel()
	log := &ledger{}
	w := &Warden{config: DefaultConfig(), d: Dependencies{Receipts: log}, epochs: map[retention.Epoch]*Status{}}
	s := w.status(retention.Epoch{Policy: "p", Length: 1000}, time.Unix(10, 0))
	s.Purged, s.account.announcing = true, 1
	if err := w.record(t.Context(), s); err == nil || len(log.entries) > 0 || s.account.recorded {
		t.Errorf("%v, %d entries", err, len(log.entries))
	}
}

// A key that can't be published is announced, and so the next one waits, longer each
// time: entries are for good.
func TestKeysAreAnnouncedAtIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		epoch := retention.Epoch{Policy: "p", Start: time.Now().UnixMilli(), Length: 1000}
		log := &ledger{}
		w := &Warden{config: DefaultConfig(), d: Dependencies{Receipts: log}, epochs: map[retention.Epoch]*Status{}}
		s := w.status(epoch, time.Now().Add(time.Hour))
		next := byte(0)
		announce := func() error {
			next++
			return w.announce(t.Context(), s, keyring.Public{Epoch: epoch, Deadline: s.Deadline, ID: [8]byte{next}, Shards: 1})
		}
		away := errors.New("a node is away")
		for n, wait := range []time.Duration{w.config.Retry, 2 * w.config.Retry, 4 * w.config.Retry} {
			if err := announce(); err != nil || len(log.entries) != n+1 {
				t.Fatalf("%v, %d entries", err, len(log.entries))
			}
			_ = w.published(s, away)
			time.Sleep(wait - time.Millisecond)
			if err := announce(); !errors.Is(err, errHeld) || len(log.entries) != n+1 {
				t.Errorf("%v before: %v, %d entries", wait, err, len(log.entries))
			}
			if err := w.published(s, errHeld); !errors.Is(err, away) {
				t.Errorf("the reason is %v", err)
			}
			time.Sleep(time.Millisecond)
		}
		_ = w.published(s, nil)
		for range 2 {
			if err := announce(); err != nil {
				t.Errorf("after one was published: %v", err)
			}
			_ = w.published(s, nil)
		}
	})
}

// An epoch lives by the shorter of two windows: the one under which it began, and today's.
func TestAnEpochLivesByTheShorterWindow(t *testing.T) {
	t.Parallel()
	epoch := retention.Epoch{Policy: "p", Start: 1_000_000, Length: 1000}
	for _, began := range []time.Duration{30 * time.Minute, time.Hour, 2 * time.Hour} {
		w := &Warden{d: Dependencies{Receipts: &ledger{deadline: epoch.Deadline(began)}}}
		deadline, living := w.term(epoch, time.Hour, time.Now())
		if want := epoch.Deadline(min(began, time.Hour)); !living || !deadline.Equal(want) {
			t.Errorf("it began under %v, and may live until %v, %v; want %v", began, deadline, living, want)
		}
	}
}
