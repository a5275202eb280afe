// Package receipts keeps the record of what Mayfly did: which policies applied,
// which epoch keys existed, that each was destroyed, and every look. No subject is
// looked up without an entry that says for which case and why, and how much was
// found; no key is published without an entry that names it; and every epoch owes
// an entry about its end. The desk and the warden append, retention/receipts/audit
// verifies offline.
//
// A log is an append-only Merkle tree with signed heads (C2SP tlog-tiles and
// tlog-checkpoint), one per process. It makes lying detectable; it doesn't prove
// deletion. Two invariants:
//
//   - when Append or Record returns nil, the entry is on disk and a later opening
//     finds it; whatever the log has signed, a later opening finds or refuses;
//   - entries are permanent while everything else in Mayfly expires. So none can
//     hold an address, a hash of one, an account or free text: an entry has typed
//     fields only, and what could carry more is refused.
package receipts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts/tiles"
)

// ErrClosed is returned by Append and Record after Close.
var ErrClosed = errors.New("the receipt log is closed")

// Log is an append-only log in one folder. One process at a time holds it; its
// methods may be called concurrently.
type Log struct {
	dir      string
	identity *Identity
	lock     *os.File

	queue   sync.Mutex // guards waiting
	waiting []*batch

	// commit guards the rest but the ledger: entries get their place, are made
	// durable and published under it, so a checkpoint never covers an entry that
	// could still be lost. Who waits for it finds that a batch before it has
	// often taken its entries along: a batch is as old as one commit takes.
	commit    sync.Mutex
	journal   *journal // nil once closed
	tree      *tiles.Tree
	tail      [][]byte // entries since the last full bundle below published
	published int64    // entries that the checkpoint covers

	// state guards what the entries say.
	state    sync.Mutex
	ledger   *ledger
	counts   map[string]int64 // by type
	trouble  error            // why the last attempt to write or to publish failed
	head     Head             // as published
	watchers []watcher
}

// batch is the entries of one caller: all are written, or none.
type batch struct {
	entries []Entry
	texts   [][]byte
	done    bool // guarded by commit, as is err
	err     error
}

// Append writes the entry of a look-up. When it returns nil the entry is durable;
// id names it.
func (l *Log) Append(ctx context.Context, lookup Lookup) (id string, err error) {
	e := &Looked{ID: rand.Text(), Lookup: lookup}
	if err := l.Record(ctx, e); err != nil {
		return "", err
	}
	return e.ID, nil
}

// Record writes entries, all or none, and stamps them with the time. When it
// returns nil they are durable.
func (l *Log) Record(ctx context.Context, entries ...Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := &batch{entries: entries}
	now := time.Now()
	for _, e := range entries {
		e.stamp(now)
		text, err := Marshal(e)
		if err != nil {
			return errEncoding(err)
		}
		b.texts = append(b.texts, text)
	}
	l.queue.Lock()
	l.waiting = append(l.waiting, b)
	l.queue.Unlock()

	l.commit.Lock()
	defer l.commit.Unlock()
	if b.done {
		return b.err
	}
	l.queue.Lock()
	batches := l.waiting
	l.waiting = nil
	l.queue.Unlock()
	err := l.write(batches)
	if err != nil {
		l.note(err)
	}
	for _, b := range batches {
		b.done, b.err = true, err
	}
	return err
}

// write makes batches durable, then publishes them.
func (l *Log) write(batches []*batch) error {
	if l.journal == nil {
		return ErrClosed
	}
	// A log that can't publish takes on no more: it would grow out of sight.
	if err := l.publish(); err != nil {
		return err
	}
	var frames []byte
	for _, b := range batches {
		for _, text := range b.texts {
			frames = appendFrame(frames, text)
		}
	}
	err := l.journal.append(frames)
	if err != nil {
		return err
	}
	for _, b := range batches {
		for i, text := range b.texts {
			if err := l.take(text, b.entries[i]); err != nil {
				return err
			}
		}
	}
	// From here on the entries are written: a restart would publish them.
	if err = l.publish(); err == nil {
		l.wake(batches)
	}
	l.note(err)
	return nil
}

// note keeps what Ready says.
func (l *Log) note(trouble error) {
	l.state.Lock()
	defer l.state.Unlock()
	l.trouble = trouble
}

// take adds an entry that is durable.
func (l *Log) take(text []byte, e Entry) error {
	if err := l.tree.Add(tlog.RecordHash(text)); err != nil {
		return err
	}
	l.tail = append(l.tail, text)
	l.state.Lock()
	defer l.state.Unlock()
	l.ledger.apply(e)
	l.counts[e.Type()]++
	return nil
}

// Owed lists the epochs whose deadline has come and for which this log has
// neither a Purged nor a NeverMinted.
func (l *Log) Owed(now time.Time) []Debt {
	l.state.Lock()
	defer l.state.Unlock()
	return l.ledger.owed(now)
}

// Policies are those that apply, by what the log says.
func (l *Log) Policies() map[string]*Policy {
	l.state.Lock()
	defer l.state.Unlock()
	policies := make(map[string]*Policy, len(l.ledger.policies))
	for name, p := range l.ledger.policies {
		policies[name] = p
	}
	return policies
}

// Ready says why the log took on no entry when it was last asked to, or why its
// checkpoint lags behind; nil: neither. It tries again by itself: who is sent no
// more work until it is ready would never find out.
func (l *Log) Ready() error {
	l.state.Lock()
	trouble := l.trouble
	l.state.Unlock()
	if trouble == nil {
		return nil
	}
	if l.commit.TryLock() { // else somebody is trying
		if trouble = l.tryAgain(); trouble == nil || !errors.Is(trouble, ErrClosed) {
			l.note(trouble)
		}
		l.commit.Unlock()
	}
	if trouble != nil {
		return fmt.Errorf("writing the receipt log: %w", trouble)
	}
	return nil
}

// tryAgain publishes what is pending and finds out whether another entry would fit.
func (l *Log) tryAgain() error {
	if l.journal == nil {
		return ErrClosed
	}
	if err := l.publish(); err != nil {
		return err
	}
	return l.journal.probe()
}

// Size is the number of entries.
func (l *Log) Size() int64 {
	l.commit.Lock()
	defer l.commit.Unlock()
	return l.tree.Size()
}

// VerifierKey is what an auditor checks the log's signatures with; its name is
// the log's origin.
func (l *Log) VerifierKey() string { return l.identity.Verifier }

// Close lets another process open the log.
func (l *Log) Close() error {
	l.commit.Lock()
	defer l.commit.Unlock()
	if l.journal == nil {
		return nil
	}
	err := errors.Join(l.journal.file.Close(), l.lock.Close())
	l.journal = nil
	return err
}
