// Package lookup answers who was behind an address at a time, for abuse
// handlers: it reads requests, asks the IP log, groups events into connections
// and decides what may be said. The desk and cmd import it.
//
// Invariants: no answer leaves without its receipt; where a time and an address
// fit several accounts, none is named; and no error of this package quotes the
// subject, so errors may be logged.
package lookup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"mayfly/retention"
	"mayfly/retention/receipts"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// Log is the IP log as look-ups see it. Find never returns a record past its deadline.
type Log interface {
	Find(ctx context.Context, q store.Query) (store.Answer, error)
}

// Receipts is where every look is written down. When Append returns nil, the
// entry is durable and id names it.
type Receipts interface {
	Append(ctx context.Context, l receipts.Lookup) (id string, err error)
}

// Config is what look-ups must know of retention.
type Config struct {
	Policies retention.Policies // for the readable window and policy names
}

// Dependencies are what look-ups work with.
type Dependencies struct {
	Log      Log
	Receipts Receipts
	// IsCanary tells the warden's invented connections, which no answer shows; nil:
	// there are none.
	IsCanary func(r *record.Record) bool
}

// Lookups answers requests. Its methods may be called concurrently.
type Lookups struct {
	policies retention.Policies
	log      Log // canaries left out
	receipts Receipts
	most     int // records that one look-up may read
	turns    *semaphore.Weighted
}

// mostRecords bounds the memory of one look-up, at about 250 B a record.
const mostRecords = 500_000

// atOnce is how many look-ups read the log at a time, each with up to a few hundred
// megabytes of what it finds; others wait.
const atOnce = 8

// clockSkew is how far ahead of our clock an event's time may be.
const clockSkew = time.Minute

// New needs every dependency and at least one policy.
func New(c Config, d Dependencies) (*Lookups, error) {
	if err := c.Policies.Validate(); err != nil {
		return nil, err
	}
	if d.Log == nil || d.Receipts == nil {
		return nil, errors.New("look-ups need a log and receipts")
	}
	log := d.Log
	if d.IsCanary != nil {
		log = withoutCanaries{d.Log, d.IsCanary}
	}
	return &Lookups{policies: c.Policies, log: log, receipts: d.Receipts, most: mostRecords, turns: semaphore.NewWeighted(atOnce)}, nil
}

// ErrNoReceipt says that there is no answer because no receipt could be written.
var ErrNoReceipt = errors.New("writing the receipt")

// Look answers one request. The error is a *Refusal where the request is at
// fault. Otherwise the log could not be read, or it is ErrNoReceipt; then nothing
// may be told, and the Result is empty.
func (l *Lookups) Look(ctx context.Context, now time.Time, r Request) (Result, error) {
	if err := checkCase(r.Case, r.Reason, r.Account); err != nil {
		return Result{}, err
	}
	q, err := parse(r, now, l.policies)
	if err != nil {
		return Result{}, err
	}
	result, err := l.answer(ctx, now, q)
	if err != nil && !errors.Is(err, errTooMany) {
		return Result{}, err
	}
	refused := err
	result.Receipt, err = l.receipts.Append(ctx, receipts.Lookup{
		Case: r.Case, Reason: r.Reason, Subject: q.kind,
		Events: result.found, Accounts: result.Accounts, Ambiguous: result.Ambiguous, Complete: result.Complete,
		From: result.From, To: result.To,
	})
	if err != nil {
		return Result{}, fmt.Errorf("%w: %w", ErrNoReceipt, err)
	}
	if refused != nil {
		return Result{}, refused
	}
	return result, nil
}

// errTooMany refuses a look-up once the log was read, so that it has its receipt
// too: as many events as were read, and incomplete.
var errTooMany = refuse("", "this would read more than %d events: ask for a smaller prefix or a shorter time", mostRecords)

// answer is Look without the receipt.
func (l *Lookups) answer(ctx context.Context, now time.Time, q question) (Result, error) {
	if err := l.turns.Acquire(ctx, 1); err != nil {
		return Result{}, fmt.Errorf("waiting for other look-ups: %w", err)
	}
	defer l.turns.Release(1)
	result := q.result()
	query := store.Query{
		Prefix: q.prefix, Account: q.account, Policies: q.names,
		From: later(q.from, q.oldest), To: q.to, Limit: l.most,
	}
	switch {
	case q.moment:
		// A connection that spans the moment may have begun at the window's
		// start, and may have been seen only now.
		query.From, query.To = q.oldest, now.Add(clockSkew)
	case q.port == nil && !q.instant():
		query.Limit = q.limit
	}
	if query.From.After(query.To) {
		return result, nil
	}
	found, err := l.log.Find(ctx, query)
	if err != nil {
		return Result{}, fmt.Errorf("reading the IP log: %w", err)
	}
	if found.Truncated && query.Limit == l.most {
		result.found, result.Complete = len(found.Records), false
		return result, errTooMany
	}
	result.Complete, result.Truncated = found.Complete, found.Truncated
	if q.moment {
		err = l.matchMoment(ctx, q, found.Records, &result)
		return result, err
	}
	events := slices.DeleteFunc(found.Records, func(r record.Record) bool { return !q.fits(r) })
	if accounts := accountsOf(events); q.instant() && accounts > 1 {
		result.Ambiguous, result.found, result.Accounts = true, len(events), accounts
		return result, nil
	}
	result.show(events, q.limit)
	return result, nil
}

// matchMoment fills result with the connections that were open at q's moment.
func (l *Lookups) matchMoment(ctx context.Context, q question, records []record.Record, result *Result) error {
	all := connections(records, q)
	matching, complete, err := l.settle(ctx, q, overlapping(all, q.from, q.to))
	if err != nil {
		return fmt.Errorf("reading the IP log: %w", err)
	}
	result.Complete = result.Complete && complete
	events := recordsOf(records, matching)
	result.Accounts = countAccounts(matching)
	if q.prefix.IsValid() && result.Accounts > 0 {
		result.UniqueWithin = uniqueWithin(all, q.at, q.tolerance).Seconds()
	}
	if q.prefix.IsValid() && result.Accounts > 1 {
		result.Ambiguous, result.found = true, len(events)
		return nil
	}
	result.show(events, q.limit)
	return nil
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
