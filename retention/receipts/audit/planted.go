package audit

import (
	"errors"
	"slices"
	"time"

	"mayfly/retention"
	"mayfly/retention/receipts"
)

// CanaryResult is what became of the warden's own canaries over the time judged.
type CanaryResult struct {
	Passed     int64 `json:"passed"`
	Failed     int64 `json:"failed"`
	Unanswered int64 `json:"unanswered"` // not everybody answered, so nothing is proved
	Lost       int64 `json:"lost"`       // of all: never found while they lived
}

// canaries counts them and finds those of which something was left.
func (j *judge) canaries() {
	slices.SortStableFunc(j.accounts.canaries, func(a, b *receipts.Canary) int { return a.Deadline.Compare(b.Deadline) })
	for _, e := range j.accounts.canaries {
		deadline := e.Deadline.UnixMilli()
		if deadline < j.from || deadline > j.to {
			continue
		}
		sum := &j.result.Canaries
		if e.Found < 0 {
			sum.Lost++
		}
		switch {
		case len(e.Failures) > 0:
			sum.Failed++
			j.find(Survived, e.Epoch, deadline, 0)
		case e.Passed():
			sum.Passed++
		default:
			sum.Unanswered++
		}
	}
	j.flush()
}

func (a *accounts) plant(e *receipts.Planted) {
	if before := a.planted[e.Commitment]; before == nil || e.Time.Before(before.Time) {
		a.planted[e.Commitment] = e
	}
}

// Planted is when a commitment was written down first, and to how many
// connections; ok is false where no log has it. That the entry is in the log is
// proved: every entry was held to the signed tree.
func (r *Result) Planted(commitment string) (at time.Time, count int64, ok bool) {
	e := r.accounts.planted[commitment]
	if e == nil {
		return time.Time{}, 0, false
	}
	return e.Time, e.Count, true
}

// End is what the logs say of one epoch.
type End struct {
	Epoch    string    `json:"epoch"`
	Deadline time.Time `json:"deadline"`
	// Kind is "purged", "never minted", or empty: the logs don't say that it ended.
	Kind string    `json:"kind"`
	At   time.Time `json:"at,omitzero"` // when that was verified
	Lag  Millis    `json:"lag_ms"`
	Keys int64     `json:"keys"`
}

// Ends gives, for every policy that applied at an instant, the epoch of that
// instant and its end; names narrows it to some policies. The error says that no
// policy of that name applied.
func (r *Result) Ends(at time.Time, names ...string) ([]End, error) {
	terms, err := r.accounts.terms()
	if err != nil {
		return nil, err
	}
	var ends []End
	for _, name := range sortedKeys(terms) {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		for _, t := range terms[name] {
			p := retention.Policy{Name: name, Window: t.policy.Window, Epoch: t.policy.Length}
			e := p.EpochAt(at)
			if e.Start < t.first || e.Start >= t.until {
				continue
			}
			ends = append(ends, r.end(e, e.Deadline(p.Window)))
		}
	}
	if len(ends) == 0 {
		return nil, errors.New("by the logs no such policy applied at that time")
	}
	return ends, nil
}

func (r *Result) end(e retention.Epoch, deadline time.Time) End {
	end := End{Epoch: e.String(), Deadline: deadline.UTC()}
	s := r.accounts.series[seriesKey{e.Policy, e.Length}]
	if s == nil {
		return end
	}
	var outcomes []outcome
	if state := s.epochs[e.Start]; state != nil {
		outcomes = state.outcomes
		end.Keys = int64(len(state.keys))
	}
	outcomes = append(slices.Clip(outcomes), s.never(e.Start, e.Length)...)
	purge, first := firsts(outcomes)
	switch {
	case purge != nil:
		end.Kind, first = receipts.TypePurged, purge
	case first == nil || end.Keys > 0: // what had a key is not ended by "never minted"
		return end
	default:
		end.Kind = receipts.TypeNeverMinted
	}
	end.At = stampOf(first.at)
	end.Lag = Millis(max(first.at-deadline.UnixMilli(), 0))
	return end
}
