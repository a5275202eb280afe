package warden

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/seal"
	"mayfly/retention/tally"
)

// Receipts is the log of what a warden does, across its restarts.
type Receipts interface {
	// Record returns nil once the entries are durable, all of them.
	Record(ctx context.Context, entries ...receipts.Entry) error
	// Owed lists the epochs that are due by the log's account and have no end in it.
	Owed(now time.Time) []receipts.Debt
	// Policies are those that apply by the log's account.
	Policies() map[string]*receipts.Policy
	// Latest are those and the ones that were removed.
	Latest() map[string]*receipts.Policy
	// Had reports whether a key was announced for an epoch that has not ended.
	Had(epoch retention.Epoch) bool
	// Marks are the latest epochs that have ended, one for each length.
	Marks() []retention.Epoch
	// Deadline is an epoch's by the terms under which it began; false: it has ended.
	Deadline(epoch retention.Epoch, now time.Time) (time.Time, bool)
}

// account is what an epoch's receipts need to know; Warden.mu guards it.
type account struct {
	announcing int       // keys that are being logged
	announced  int       // keys logged since one was published
	hold       time.Time // no other key is announced before this
	failure    error     // why the last one was not published
	owed       bool      // by this warden's log, which names keys of it
	closing    bool      // its end is being logged: no key is announced any more
	recorded   bool      // its end is in the log
	verified   time.Time // when its purge was
	sum        tally.Sum // what it had
	counted    time.Time // when that was read; zero: never
	final      bool      // just before its deadline
}

// enroll logs the policies that are new or changed, and those that are gone. No
// key is minted before that has worked.
func (w *Warden) enroll(ctx context.Context, now time.Time) error {
	if w.d.Receipts == nil {
		return nil
	}
	w.enrolling.Lock()
	defer w.enrolling.Unlock()
	if w.enrolled {
		return nil
	}
	before, latest := w.d.Receipts.Policies(), w.d.Receipts.Latest()
	var entries []receipts.Entry
	for i := range w.d.Policies {
		entry := receipts.NewPolicy(&w.d.Policies[i], now)
		if !entry.Same(before[entry.Name]) {
			if earlier := latest[entry.Name]; earlier != nil {
				entry.After(earlier, now)
			}
			entries = append(entries, entry)
		}
		delete(before, entry.Name)
	}
	for name := range before {
		entries = append(entries, &receipts.Removed{Name: name})
	}
	if len(entries) > 0 {
		if err := w.d.Receipts.Record(ctx, entries...); err != nil {
			return fmt.Errorf("writing the policies' receipts: %w", err)
		}
	}
	w.enrolled = true
	return nil
}

// term is until when an epoch may live, by the log where there is one; false: it
// may not. What the keyring has forgotten, and the policies no longer say, the
// log still knows.
func (w *Warden) term(epoch retention.Epoch, window time.Duration, now time.Time) (time.Time, bool) {
	deadline := epoch.Deadline(window)
	if w.d.Receipts == nil {
		return deadline, true
	}
	began, living := w.d.Receipts.Deadline(epoch, now)
	if began.Before(deadline) {
		deadline = began
	}
	return deadline, living
}

// had reports whether an epoch had a key: by the log, or one that another warden
// minted and this one has seen, which is in the other's log alone.
func (w *Warden) had(epoch retention.Epoch) bool {
	w.mu.Lock()
	s := w.epochs[epoch]
	seen := s != nil && len(s.keys) > 0
	w.mu.Unlock()
	return seen || w.d.Receipts != nil && w.d.Receipts.Had(epoch)
}

// ended gives what tells which epochs are over by the log: at or below its marks.
func (w *Warden) ended() func(retention.Epoch) bool {
	var marks []retention.Epoch
	if w.d.Receipts != nil {
		marks = w.d.Receipts.Marks()
	}
	return func(epoch retention.Epoch) bool {
		return slices.ContainsFunc(marks, func(mark retention.Epoch) bool {
			return mark.Policy == epoch.Policy && mark.Length == epoch.Length && epoch.Start <= mark.Start
		})
	}
}

// markLife is how long a node keeps a purged-through mark at least. The window may
// be lengthened meanwhile; and while a warden runs, it restores them.
const markLife = 24 * time.Hour

// restore tells the nodes again what has ended, before anything is minted: one of
// them may have come up empty. It is for others, who go by the nodes; this warden
// goes by its log. So a node that is away keeps it from nothing.
func (w *Warden) restore(ctx context.Context) {
	if w.d.Receipts == nil {
		return
	}
	for _, mark := range w.d.Receipts.Marks() {
		if err := w.d.Keyring.Destroy(ctx, mark, markLife); err != nil {
			w.d.Log.Debug("a purged-through mark was not restored everywhere; trying again", zap.Error(err))
		}
	}
}

// errHeld: a key was announced moments ago and could not be published. Entries are
// for good, so the next one waits.
var errHeld = errors.New("no other key is announced yet")

// announce logs a key before anybody can use it.
func (w *Warden) announce(ctx context.Context, s *Status, key keyring.Public) error {
	if w.d.Receipts == nil {
		return nil
	}
	now := time.Now()
	w.mu.Lock()
	if s.account.closing || s.Purged {
		w.mu.Unlock()
		return keyring.ErrDestroyed
	}
	if slices.ContainsFunc(s.keys, func(k keyring.Public) bool { return k.ID == key.ID }) {
		w.mu.Unlock()
		return nil // it is in the log; what comes after that has failed
	}
	if now.Before(s.account.hold) {
		w.mu.Unlock()
		return errHeld
	}
	s.account.hold = now.Add(min(w.config.Retry<<min(s.account.announced, 16), repairEvery))
	s.account.announced++
	s.account.announcing++
	w.mu.Unlock()

	err := w.d.Receipts.Record(ctx, &receipts.Key{
		Epoch: key.Epoch, Deadline: key.Deadline, ID: key.ID.String(), Shards: int64(key.Shards), Successor: key.Successor,
	})
	if err == nil {
		w.saw(key.Epoch, []keyring.Public{key})
	}
	w.mu.Lock()
	s.account.announcing--
	w.mu.Unlock()
	if err != nil {
		return fmt.Errorf("writing the receipt of a key: %w", err)
	}
	return nil
}

// published notes how a mint ended, and gives the error that counts.
func (w *Warden) published(s *Status, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, errHeld) {
		return s.account.failure
	}
	s.account.failure = err
	if err == nil {
		s.account.announced, s.account.hold = 0, time.Time{}
	}
	return err
}

// collect takes charge of the epochs with keys that the log still owes: they came
// due while no warden ran, or this one never saw all of their keys. It gives the
// others that nobody has in charge.
func (w *Warden) collect(now time.Time) (orphans []receipts.Debt) {
	if w.d.Receipts == nil {
		return nil
	}
	for _, debt := range w.d.Receipts.Owed(now) {
		switch {
		case len(debt.Keys) > 0:
			w.owe(w.status(debt.Epoch, debt.Deadline))
			w.saw(debt.Epoch, publics(debt))
		case !w.knows(debt.Epoch):
			orphans = append(orphans, debt)
		}
	}
	return orphans
}

// account ends orphans: epochs that came due while no warden ran, or while this
// machine slept. Those that the keyring holds no key of were never minted, as far as
// this log can tell: where another warden ran meanwhile its log has their purges, which
// an audit of both goes by. Nodes can't tell: a purged-through mark covers what never
// had a key as well, as soon as anything later has ended.
func (w *Warden) account(ctx context.Context, orphans []receipts.Debt, now time.Time) error {
	if len(orphans) == 0 {
		return nil
	}
	held, err := w.d.Keyring.Epochs(ctx)
	if err != nil {
		return fmt.Errorf("looking for keys of epochs that are due: %w", err)
	}
	orphans = slices.DeleteFunc(orphans, func(debt receipts.Debt) bool {
		if slices.Contains(held, debt.Epoch) {
			w.status(debt.Epoch, debt.Deadline)
			return true
		}
		return false
	})
	return w.recordNeverMinted(ctx, orphans, now)
}

func (w *Warden) owe(s *Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s.account.owed = true
}

func (w *Warden) knows(epoch retention.Epoch) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epochs[epoch] != nil
}

// publics are the keys of a debt, as far as unlinking chunks needs them.
func publics(debt receipts.Debt) []keyring.Public {
	keys := make([]keyring.Public, 0, len(debt.Keys))
	for _, k := range debt.Keys {
		id, err := seal.ParseKeyID(k.ID)
		if err != nil {
			continue // no log holds another
		}
		keys = append(keys, keyring.Public{Epoch: debt.Epoch, ID: id, Deadline: k.Deadline, Shards: uint32(k.Shards)})
	}
	return keys
}

// recordNeverMinted logs epochs one after the other as one entry.
func (w *Warden) recordNeverMinted(ctx context.Context, debts []receipts.Debt, now time.Time) error {
	var entries []receipts.Entry
	var run *receipts.NeverMinted
	for _, debt := range debts {
		next := debt.Epoch
		if run != nil {
			next = run.Epoch
			next.Start += run.Count * next.Length
		}
		length := time.Duration(debt.Epoch.Length) * time.Millisecond
		if run != nil && debt.Epoch == next && debt.Deadline.Equal(run.Deadline.Add(time.Duration(run.Count)*length)) {
			run.Count++
			continue
		}
		run = &receipts.NeverMinted{
			Epoch: debt.Epoch, Deadline: debt.Deadline, Count: 1, At: now, Late: now.Sub(debt.Deadline) > receipts.Grace,
		}
		entries = append(entries, run)
	}
	if len(entries) == 0 {
		return nil
	}
	if err := w.d.Receipts.Record(ctx, entries...); err != nil {
		return fmt.Errorf("writing the receipts of epochs that were never minted: %w", err)
	}
	w.d.Log.Warn("epochs came due of which this log has no key: no warden ran, it could not mint, or another one did and its log says so", zap.Int("epochs", len(debts)))
	return nil
}

// record logs the end of an epoch, which has come whether or not that works.
func (w *Warden) record(ctx context.Context, s *Status) error {
	if w.d.Receipts == nil || w.look(s).account.recorded {
		return nil
	}
	w.mu.Lock()
	if s.account.announcing > 0 {
		w.mu.Unlock()
		return fmt.Errorf("writing the receipt of epoch %v: a key of it is being announced", s.Epoch)
	}
	s.account.closing = true
	entry := w.outcome(s)
	w.mu.Unlock()
	if err := w.d.Receipts.Record(ctx, entry); err != nil {
		return fmt.Errorf("writing the receipt of epoch %v: %w", s.Epoch, err)
	}
	w.mu.Lock()
	s.account.recorded = true
	w.mu.Unlock()
	return nil
}

// outcome is the entry of an epoch's end; the caller holds mu.
func (w *Warden) outcome(s *Status) receipts.Entry {
	late := s.account.verified.UnixMilli()-s.Deadline.UnixMilli() > receipts.Grace.Milliseconds()
	if len(s.keys) == 0 {
		return &receipts.NeverMinted{Epoch: s.Epoch, Deadline: s.Deadline, Count: 1, At: s.account.verified, Late: late}
	}
	purged := &receipts.Purged{
		Epoch: s.Epoch, Deadline: s.Deadline, At: s.account.verified, Late: late, KeyCount: int64(len(s.keys)),
		Nodes: int64(w.d.Keyring.Nodes()),
		Facts: receipts.Facts{Method: receipts.MethodSealed, Assurance: "unattested"},
	}
	if a := &s.account; !a.counted.IsZero() {
		counted := a.counted
		if a.verified.Before(counted) { // a clock was set back
			counted = a.verified
		}
		purged.Tally = receipts.NewTally(&a.sum, counted)
	}
	for _, key := range s.keys[:min(len(s.keys), receipts.MaxKeys)] {
		purged.Keys = append(purged.Keys, key.ID.String())
	}
	if w.d.Facts != nil {
		purged.Facts = w.d.Facts()
	}
	return purged
}
