package audit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// Finding is a run of epochs for which the logs break a promise in one way.
type Finding struct {
	Kind     string    `json:"kind"` // one of the Kinds
	Epoch    string    `json:"epoch"`
	Last     string    `json:"last_epoch,omitempty"` // of a run of Count
	Count    int64     `json:"count"`
	Deadline time.Time `json:"deadline"`
	Lag      Millis    `json:"lag_ms,omitempty"` // the worst, where late
	last     retention.Epoch
}

// Kinds of findings.
const (
	Missing       = "missing"
	Late          = "late"
	Unpurged      = "unpurged"
	Unnamed       = "unnamed key"
	Unannounced   = "unannounced key"
	Contradiction = "contradiction"
	Reused        = "reused"
	Outlives      = "outlives"
	Unexplained   = "unexplained"
	Survived      = "survived"
)

var explanations = map[string]string{
	Missing:       "neither purged nor never minted",
	Late:          "its end came late",
	Unpurged:      "it had a key, and no log says that it was purged",
	Unnamed:       "a key of it was logged that no purge names",
	Unannounced:   "a key was destroyed that no log had announced",
	Contradiction: "one log says two things about its end",
	Reused:        "a key was made for it after its end",
	Outlives:      "a key or a purge has a later deadline than the policy allows",
	Unexplained:   "it had a key, and no policy explains it",
	Survived:      "something of a canary in it outlived the deadline",
}

// String is one line that names the epochs.
func (f Finding) String() string {
	s := fmt.Sprintf("%s: epoch %s", f.Kind, f.Epoch)
	if f.Count > 1 {
		s = fmt.Sprintf("%s: epochs %s to %s (%d)", f.Kind, f.Epoch, f.Last, f.Count)
	}
	s += fmt.Sprintf(", due %s: %s", f.Deadline.UTC().Format("2006-01-02T15:04:05.999Z07:00"), explanations[f.Kind])
	if f.Kind == Late {
		s += fmt.Sprintf(" by up to %v", f.Lag)
	}
	return s
}

// judge holds every epoch to its policy.
type judge struct {
	*accounts
	result   *Result
	from, to int64
	grace    int64
	steps    int64
	open     map[string]*Finding // the run that is growing, by kind
	lags     []int64             // of the policy at hand
	policy   *PolicyResult
	offsets  offsets
}

// What bounds the work that entries can ask for.
const (
	maxSteps = 2_000_000_000 // an epoch takes stepsPerEpoch, and one for each run and each change to look through
	maxTerms = 10_000        // changes of one policy

	stepsPerEpoch = 20
)

func (a *accounts) judge(r *Result, o Options) error {
	j := &judge{accounts: a, result: r, from: math.MinInt64, to: o.To.UnixMilli(), grace: o.Grace.Milliseconds()}
	if !o.From.IsZero() {
		j.from = o.From.UnixMilli()
	}
	r.Lookups, r.Assurance, r.Policies, r.Findings = a.lookups, cmp.Or(a.assurance, "unattested"), []PolicyResult{}, []Finding{}
	terms, err := a.terms()
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(terms) {
		list := terms[name]
		last := list[len(list)-1]
		j.begin(last.policy)
		for _, t := range list {
			if err := j.term(t, list); err != nil {
				return err
			}
		}
		j.rest(name, list)
		j.end()
		if last.until != math.MaxInt64 {
			r.Removed = append(r.Removed, name)
		}
	}
	j.unexplained(terms)
	j.canaries()
	r.Topics = j.offsets.results()
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(a.Deadline.Compare(b.Deadline), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Kind, b.Kind))
	})
	for _, f := range r.Findings {
		r.Exceptions += f.Count
	}
	return nil
}

func (j *judge) begin(p *receipts.Policy) {
	j.policy = &PolicyResult{
		Name: p.Name, Basis: p.Basis, Window: Millis(p.Window.Milliseconds()), Length: Millis(p.Length.Milliseconds()), Since: p.Time,
	}
	j.lags, j.open = j.lags[:0], map[string]*Finding{}
}

func (j *judge) end() {
	j.policy.Lag = lagsOf(j.lags)
	j.result.Policies = append(j.result.Policies, *j.policy)
	j.flush()
}

// flush hands over the findings that were still growing.
func (j *judge) flush() {
	for _, f := range j.open {
		j.result.Findings = append(j.result.Findings, *f)
	}
	j.open = map[string]*Finding{}
}

// find adds an epoch to the findings: to the run before it, where it continues it.
func (j *judge) find(kind string, e retention.Epoch, deadline, lag int64) {
	if f := j.open[kind]; f != nil {
		if f.last.Policy == e.Policy && f.last.Length == e.Length && f.last.Start+f.last.Length == e.Start {
			f.last, f.Last = e, e.String()
			f.Count++
			f.Lag = max(f.Lag, Millis(lag))
			return
		}
		j.result.Findings = append(j.result.Findings, *f)
	}
	j.open[kind] = &Finding{Kind: kind, Epoch: e.String(), Count: 1, Deadline: stampOf(deadline), Lag: Millis(lag), last: e}
}

// term judges the epochs that the terms of a policy owe.
func (j *judge) term(t term, all []term) error {
	length, window := t.length(), t.window()
	s := j.series[seriesKey{t.policy.Name, length}]
	if s == nil {
		s = &series{}
	}
	start := t.first
	if j.from > start+window && j.from != math.MinInt64 {
		// A key's own deadline may be a little off the terms': look a window back.
		start = max(start, (j.from-2*window)/length*length)
	}
	end := min(t.until, j.to-window-j.grace+1) // no epoch starts at or after it
	if start < end {
		if j.steps += (end - start + length - 1) / length * (stepsPerEpoch + int64(len(s.runs)+len(all))); j.steps > maxSteps {
			return errors.New("more epochs than can be judged at once: narrow --from and --to")
		}
	}
	for ; start < end; start += length {
		j.epoch(retention.Epoch{Policy: t.policy.Name, Start: start, Length: length}, s, start+window, all)
	}
	return nil
}

// longest is the longest window that a policy ever had with epochs of a length.
func longest(all []term, length int64) (window int64) {
	for _, t := range all {
		if t.length() == length {
			window = max(window, t.window())
		}
	}
	return window
}

// rest judges epochs that have keys but that no terms owe any more: terms overlap
// where processes take up a change one after the other.
func (j *judge) rest(policy string, all []term) {
	for _, t := range all {
		s := j.series[seriesKey{policy, t.length()}]
		if s == nil {
			continue
		}
		for _, start := range sortedKeys(s.epochs) {
			state, latest := s.epochs[start], start+longest(all, t.length())
			if !state.judged && len(state.keys) > 0 && state.due(latest)+j.grace <= j.to {
				j.epoch(retention.Epoch{Policy: policy, Start: start, Length: t.length()}, s, latest, all)
			}
		}
	}
}

// unexplained names epochs that had keys under no policy at all.
func (j *judge) unexplained(terms map[string][]term) {
	for key, s := range j.series {
		if slices.ContainsFunc(terms[key.policy], func(t term) bool { return t.length() == key.length }) {
			continue
		}
		for _, start := range sortedKeys(s.epochs) {
			state := s.epochs[start]
			due := state.due(start + retention.MaxWindow.Milliseconds())
			if len(state.keys) > 0 && due >= j.from && due+j.grace <= j.to {
				j.find(Unexplained, retention.Epoch{Policy: key.policy, Start: start, Length: key.length}, due, 0)
			}
		}
	}
	j.flush()
}

// epoch judges one epoch. Its deadline is its keys' own, but no later than any terms
// allowed: else that of the terms.
func (j *judge) epoch(e retention.Epoch, s *series, deadline int64, all []term) {
	state := s.epochs[e.Start]
	if state == nil {
		state = &epochState{}
	}
	state.judged = true
	latest := e.Start + longest(all, e.Length)
	if len(state.keys) > 0 {
		deadline = state.due(latest)
	}
	if deadline < j.from || deadline+j.grace > j.to {
		return
	}
	outcomes := state.outcomes
	if len(s.runs) > 0 {
		outcomes = append(slices.Clip(outcomes), s.never(e.Start, e.Length)...)
	}
	j.policy.Epochs++
	j.policy.Keys += int64(len(state.keys))
	purge, first := firsts(outcomes)
	switch {
	case len(outcomes) == 0 && len(state.keys) == 0:
		j.policy.Missing++
		j.find(Missing, e, deadline, 0)
		return
	case purge == nil && len(state.keys) > 0:
		j.policy.Missing++
		j.find(Unpurged, e, deadline, 0)
	case purge != nil:
		j.policy.Purged++
		j.count(outcomes)
		// A window that was shortened brings the deadline forward: to when that was
		// said, where it would have passed before.
		deadline = min(deadline, max(purge.deadline, said(all, purge.at)))
		j.lags = append(j.lags, purge.at-deadline)
		j.late(e, deadline, purge.at)
	default:
		j.policy.NeverMinted++
		j.late(e, deadline, first.at)
	}
	j.consistency(e, state, outcomes, deadline, latest)
}

// said is when the terms that applied at an instant were logged.
func said(all []term, at int64) int64 {
	last := int64(math.MinInt64)
	for _, t := range all {
		if ms := t.policy.Time.UnixMilli(); ms <= at {
			last = max(last, ms)
		}
	}
	return last
}

// firsts gives the earliest purge and the earliest outcome of any kind.
func firsts(outcomes []outcome) (purge, first *outcome) {
	for i := range outcomes {
		o := &outcomes[i]
		if first == nil || o.at < first.at {
			first = o
		}
		if !o.never && (purge == nil || o.at < purge.at) {
			purge = o
		}
	}
	return purge, first
}

func (j *judge) late(e retention.Epoch, deadline, at int64) {
	if lag := at - deadline; lag > j.grace {
		j.policy.Late++
		j.find(Late, e, deadline, lag)
	}
}

// consistency looks for what the logs say of an epoch that can't all be true.
func (j *judge) consistency(e retention.Epoch, state *epochState, outcomes []outcome, deadline, latest int64) {
	if state.reused {
		j.find(Reused, e, deadline, 0)
	}
	moved := state.deadline > latest
	twice, unannounced := false, false
	destroyed := int64(0)
	for i, o := range outcomes {
		moved = moved || o.deadline > latest
		twice = twice || o.never && slices.Contains(state.loggers, o.log) ||
			slices.ContainsFunc(outcomes[:i], func(other outcome) bool { return other.log == o.log })
		unannounced = unannounced || slices.ContainsFunc(o.keys, func(id string) bool { return !slices.Contains(state.keys, id) }) ||
			o.keyCount > int64(len(state.keys))
		destroyed = max(destroyed, o.keyCount)
	}
	if moved {
		j.find(Outlives, e, deadline, 0)
	}
	if twice {
		j.find(Contradiction, e, deadline, 0)
	}
	if unannounced {
		j.find(Unannounced, e, deadline, 0)
	}
	if purge, _ := firsts(outcomes); purge != nil && slices.ContainsFunc(state.keys, func(id string) bool { return !named(outcomes, id, destroyed, len(state.keys)) }) {
		j.find(Unnamed, e, deadline, 0)
	}
}

// named reports whether a purge names the key. A purge of more keys than it has
// room for counts them.
func named(outcomes []outcome, id string, destroyed int64, logged int) bool {
	if destroyed > receipts.MaxKeys && destroyed >= int64(logged) {
		return true
	}
	return slices.ContainsFunc(outcomes, func(o outcome) bool { return slices.Contains(o.keys, id) })
}

func lagsOf(lags []int64) Lags {
	if len(lags) == 0 {
		return Lags{}
	}
	slices.Sort(lags)
	at := func(q float64) Millis { return Millis(lags[min(int(q*float64(len(lags))), len(lags)-1)]) }
	return Lags{Count: int64(len(lags)), Median: at(0.5), P99: at(0.99), Worst: Millis(lags[len(lags)-1])}
}
