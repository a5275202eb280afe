package audit

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// accounts merge what all logs say, by epoch.
type accounts struct {
	policies  []*receipts.Policy // and removals, below
	removals  []*receipts.Removed
	series    map[seriesKey]*series
	latest    *series // the one found last: entries of one policy come in runs
	latestKey seriesKey
	lookups   map[string]int64
	canaries  []*receipts.Canary
	planted   map[string]*receipts.Planted // by commitment: the first of each
	assurance string                       // the lowest level of a purge
}

// seriesKey is what a series of epochs has in common.
type seriesKey struct {
	policy string
	length int64
}

type series struct {
	epochs map[int64]*epochState // by start
	runs   []run                 // of more than one epoch
}

// epochState is what the logs say of one epoch.
type epochState struct {
	keys     []string // logged
	loggers  []int    // the logs they are in
	deadline int64    // the latest of the keys
	outcomes []outcome
	reused   bool // a key after the outcome, in one log
	judged   bool
}

// due is when an epoch that has keys must have ended: when the latest of them says, but
// never after latest. A key can't put off by its own word that it is asked for.
func (e *epochState) due(latest int64) int64 { return min(e.deadline, latest) }

// outcome is a purged or never minted epoch.
type outcome struct {
	log      int
	never    bool
	at       int64
	deadline int64
	keys     []string
	keyCount int64
	tally    *receipts.Tally
}

// run is a never-minted run.
type run struct {
	outcome
	first, count int64
}

func newAccounts() *accounts {
	return &accounts{series: map[seriesKey]*series{}, lookups: map[string]int64{}, planted: map[string]*receipts.Planted{}}
}

func (a *accounts) of(e retention.Epoch) *series {
	key := seriesKey{e.Policy, e.Length}
	if a.latest != nil && a.latestKey == key {
		return a.latest
	}
	s := a.series[key]
	if s == nil {
		s = &series{epochs: map[int64]*epochState{}}
		a.series[key] = s
	}
	a.latest, a.latestKey = s, key
	return s
}

func (s *series) at(start int64) *epochState {
	e := s.epochs[start]
	if e == nil {
		e = &epochState{}
		s.epochs[start] = e
	}
	return e
}

// take adds one entry of a log.
func (a *accounts) take(log int, e receipts.Entry) {
	switch e := e.(type) {
	case *receipts.Policy:
		a.policies = append(a.policies, e)
	case *receipts.Removed:
		a.removals = append(a.removals, e)
	case *receipts.Key:
		state := a.of(e.Epoch).at(e.Epoch.Start)
		state.keys, state.loggers = append(state.keys, e.ID), append(state.loggers, log)
		state.deadline = max(state.deadline, e.Deadline.UnixMilli())
		state.reused = state.reused || slices.ContainsFunc(state.outcomes, func(o outcome) bool { return o.log == log })
	case *receipts.Purged:
		state := a.of(e.Epoch).at(e.Epoch.Start)
		state.outcomes = append(state.outcomes, outcome{
			log: log, at: e.At.UnixMilli(), deadline: e.Deadline.UnixMilli(),
			keys: e.Keys, keyCount: e.KeyCount, tally: e.Tally,
		})
		a.attest(e.Assurance)
	case *receipts.NeverMinted:
		o := outcome{log: log, never: true, at: e.At.UnixMilli(), deadline: e.Deadline.UnixMilli()}
		s := a.of(e.Epoch)
		if e.Count > 1 {
			s.runs = append(s.runs, run{o, e.Epoch.Start, e.Count})
			return
		}
		state := s.at(e.Epoch.Start)
		state.outcomes = append(state.outcomes, o)
	case *receipts.Looked:
		a.lookups[e.Reason]++
	case *receipts.Canary:
		a.canaries = append(a.canaries, e)
	case *receipts.Planted:
		a.plant(e)
	}
}

// attest keeps the lowest level; levels are listed in order.
func (a *accounts) attest(level string) {
	if a.assurance == "" || slices.Index(receipts.Assurances, level) < slices.Index(receipts.Assurances, a.assurance) {
		a.assurance = level
	}
}

// term is the time in which a policy's terms applied: its epochs start at or after
// first and before until.
type term struct {
	policy       *receipts.Policy
	first, until int64
}

func (t term) length() int64 { return t.policy.Length.Milliseconds() }
func (t term) window() int64 { return t.policy.Window.Milliseconds() }

// terms orders the policy entries of all logs by time and says which epochs each
// owes. Several processes that announce the same terms announce them once.
func (a *accounts) terms() (map[string][]term, error) {
	slices.SortStableFunc(a.policies, func(x, y *receipts.Policy) int { return x.Time.Compare(y.Time) })
	slices.SortStableFunc(a.removals, func(x, y *receipts.Removed) int { return x.Time.Compare(y.Time) })
	terms := map[string][]term{}
	removals := a.removals
	remove := func(until time.Time) {
		for ; len(removals) > 0 && removals[0].Time.Before(until); removals = removals[1:] {
			if list := terms[removals[0].Name]; len(list) > 0 {
				last := &list[len(list)-1]
				last.until = min(last.until, removals[0].Time.UnixMilli())
			}
		}
	}
	for _, p := range a.policies {
		remove(p.Time)
		if terms[p.Name] = addTerm(terms[p.Name], p); len(terms[p.Name]) > maxTerms {
			return nil, errors.New("a policy has more changes than can be judged")
		}
	}
	remove(time.UnixMilli(math.MaxInt64 / int64(time.Millisecond)))
	return terms, nil
}

func addTerm(list []term, p *receipts.Policy) []term {
	next := term{policy: p, first: min(p.First, latestFirst(p)), until: math.MaxInt64}
	if n := len(list); n > 0 {
		last := &list[n-1]
		if last.until == math.MaxInt64 && last.policy.Same(p) {
			last.first = min(last.first, next.first)
			return list
		}
		last.until = min(last.until, p.Time.UnixMilli())
	}
	for _, earlier := range list {
		if length := next.length(); earlier.length() == length {
			next.first = max(next.first, (earlier.until+length-1)/length*length)
		}
	}
	return append(list, next)
}

// latestFirst is the last epoch that the terms may begin with: the next but one, where the
// length of epochs has changed. They can't put off by their own word what they owe.
func latestFirst(p *receipts.Policy) int64 {
	length := p.Length.Milliseconds()
	return p.Time.UnixMilli()/length*length + 2*length
}

// never lists the outcomes of runs that cover an epoch.
func (s *series) never(start, length int64) []outcome {
	var outcomes []outcome
	for _, r := range s.runs {
		if n := (start - r.first) / length; start >= r.first && n < r.count {
			o := r.outcome
			o.deadline += n * length
			outcomes = append(outcomes, o)
		}
	}
	return outcomes
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
