package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/output"
	"mayfly/retention/canary/plant"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
)

// checkResult is what audit check came to. It names planted connections by their
// number in the plan alone.
type checkResult struct {
	Commitment string      `json:"commitment"`
	Committed  time.Time   `json:"committed,omitzero"` // by the log
	Events     int         `json:"events"`
	Live       int         `json:"live"`  // before their deadline, and found
	Early      int         `json:"early"` // at a deadline, or between those of the policies that may hold them
	Gone       int         `json:"gone"`  // after their deadline, not found, and proved
	Epochs     []audit.End `json:"epochs"`
	Receipts   []string    `json:"receipts"` // of the look-ups
	Problems   []problem   `json:"problems"`
}

// problem is one thing that is not as it must be.
type problem struct {
	Kind  string `json:"kind"`
	Event int    `json:"event,omitempty"` // from 1; 0: of none
	Epoch string `json:"epoch,omitempty"`
}

// The problems, and what to say of them.
const (
	problemFound       = "still found"
	problemMissing     = "not found"
	problemIncomplete  = "incomplete"
	problemUnanswered  = "unanswered"
	problemUnsaid      = "not said to be purged"
	problemUnproved    = "unproved"
	problemLate        = "late"
	problemNotHeld     = "never held"
	problemUncommitted = "uncommitted"
	problemPolicy      = "no policy"
)

var problemTexts = map[string]string{
	problemFound:       "it is found after its deadline",
	problemMissing:     "it is not found, and its deadline has not come: it was never stored, is late, or was purged early",
	problemIncomplete:  "the desk's answer is incomplete, so it proves nothing",
	problemUnanswered:  "the desk refuses to look it up",
	problemUnsaid:      "the desk finds nothing and does not say that the time is purged",
	problemUnproved:    "the logs do not say that it was purged",
	problemLate:        "it was purged late",
	problemNotHeld:     "by the logs no epoch of that time ever had a key, so it can't have been stored",
	problemUncommitted: "the logs do not have the commitment, or only from after the first deadline",
	problemPolicy:      "by the logs no policy applied then",
}

func (p problem) String() string {
	s := problemTexts[p.Kind]
	if p.Epoch != "" {
		s = "epoch " + p.Epoch + ": " + s
	}
	if p.Event > 0 {
		s = fmt.Sprintf("planted connection %d: %s", p.Event, s)
	}
	return s
}

// check is one check under way.
type check struct {
	plan   *plant.Plan
	logs   *audit.Result
	grace  time.Duration
	events []*checkedEvent
	asked  time.Time // when the last answer was there
	begun  time.Time // before the first question
	result checkResult
	epochs map[string]bool // judged
}

type checkedEvent struct {
	plant.Event
	answers []lookup.LineResult // by address, by account
}

func newCheck(plan *plant.Plan, logs *audit.Result, grace time.Duration) *check {
	c := &check{plan: plan, logs: logs, grace: grace, begun: time.Now(), epochs: map[string]bool{}}
	c.result = checkResult{
		Commitment: plan.Commitment, Events: len(plan.Events), Epochs: []audit.End{}, Receipts: []string{}, Problems: []problem{},
	}
	for _, e := range plan.Events {
		c.events = append(c.events, &checkedEvent{Event: e})
	}
	return c
}

func (c *check) problem(kind string, event int, epoch string) {
	c.result.Problems = append(c.result.Problems, problem{kind, event, epoch})
}

func (c *check) judge() {
	var first time.Time // of all deadlines
	for i, e := range c.events {
		ends, err := c.logs.Ends(e.Time, c.plan.Policies...)
		if err != nil {
			c.problem(problemPolicy, i+1, "")
			continue
		}
		earliest, latest := ends[0].Deadline, ends[0].Deadline
		for _, end := range ends {
			if end.Deadline.Before(earliest) {
				earliest = end.Deadline
			}
			if end.Deadline.After(latest) {
				latest = end.Deadline
			}
		}
		if first.IsZero() || earliest.Before(first) {
			first = earliest
		}
		c.judgeEvent(i+1, e, ends, earliest, latest)
	}
	at, count, ok := c.logs.Planted(c.plan.Commitment)
	if ok {
		c.result.Committed = at
	}
	if !ok || int(count) != len(c.events) || !first.IsZero() && !at.Before(first) {
		c.problem(problemUncommitted, 0, "")
	}
}

// judgeEvent holds one event to what must be true of it now.
func (c *check) judgeEvent(number int, e *checkedEvent, ends []audit.End, earliest, latest time.Time) {
	before := len(c.result.Problems)
	switch {
	case c.asked.Before(earliest):
		c.judgeLive(number, e)
		if len(c.result.Problems) == before {
			c.result.Live++
		}
	case c.begun.After(latest.Add(c.grace)):
		c.judgeGone(number, e)
		if c.judgeEnds(number, ends) && len(c.result.Problems) == before {
			c.result.Gone++
		}
		c.judgeEpochs(ends)
	default:
		c.result.Early++
	}
}

// holds reports whether an answer has the very event.
func (e *checkedEvent) holds(answer lookup.LineResult) bool {
	return answer.Result != nil && slices.ContainsFunc(answer.Result.Events, func(found lookup.Event) bool {
		return found.Account == e.Account && found.IP == e.IP && found.Port != nil && *found.Port == e.Port
	})
}

func (c *check) judgeLive(number int, e *checkedEvent) {
	for _, answer := range e.answers {
		switch {
		case answer.Result == nil:
			c.problem(problemUnanswered, number, "")
		case !answer.Result.Complete:
			c.problem(problemIncomplete, number, "")
		case !e.holds(answer):
			c.problem(problemMissing, number, "")
		default:
			continue
		}
		return
	}
}

func (c *check) judgeGone(number int, e *checkedEvent) {
	for _, answer := range e.answers {
		switch {
		case answer.Result == nil:
			c.problem(problemUnanswered, number, "")
		case e.holds(answer):
			c.problem(problemFound, number, "")
		case !answer.Result.Complete:
			c.problem(problemIncomplete, number, "")
		case len(answer.Result.Purged) == 0:
			c.problem(problemUnsaid, number, "")
		default:
			continue
		}
		return
	}
}

// judgeEnds wants the end of every epoch that may have held the event, late or not, and
// of at least one that it was purged.
func (c *check) judgeEnds(number int, ends []audit.End) bool {
	open := slices.ContainsFunc(ends, func(e audit.End) bool { return e.Kind == "" })
	if !open && !slices.ContainsFunc(ends, func(e audit.End) bool { return e.Kind == receipts.TypePurged }) {
		c.problem(problemNotHeld, number, "")
	}
	return !open
}

// judgeEpochs names each epoch once that has no end, or a late one.
func (c *check) judgeEpochs(ends []audit.End) {
	for _, end := range ends {
		if c.epochs[end.Epoch] {
			continue
		}
		c.epochs[end.Epoch] = true
		c.result.Epochs = append(c.result.Epochs, end)
		switch {
		case end.Kind == "":
			c.problem(problemUnproved, 0, end.Epoch)
		case time.Duration(end.Lag)*time.Millisecond > c.grace:
			c.problem(problemLate, 0, end.Epoch)
		}
	}
}

// mostProblems bounds what is printed; JSON has everything.
const mostProblems = 20

func (r checkResult) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d found before their deadline, %d gone, %d too early to judge\n",
		output.Plural(r.Events, "planted connection"), r.Live, r.Gone, r.Early)
	if !r.Committed.IsZero() {
		fmt.Fprintf(w, "committed %s, in a signed log\n", r.Committed.UTC().Format(time.RFC3339))
	}
	worst := audit.Millis(0)
	kinds := map[string]int{}
	for _, end := range r.Epochs {
		kinds[end.Kind]++
		worst = max(worst, end.Lag)
	}
	if len(r.Epochs) > 0 {
		fmt.Fprintf(w, "%s: %d purged, %d never minted, %d without an end; the latest %v after its deadline\n",
			output.Plural(len(r.Epochs), "epoch"), kinds[receipts.TypePurged], kinds[receipts.TypeNeverMinted], kinds[""], worst)
	}
	for _, receipt := range r.Receipts {
		fmt.Fprintf(w, "receipt %s\n", output.Printable(receipt))
	}
	for i, p := range r.Problems {
		if i == mostProblems {
			fmt.Fprintf(w, "… and %d more: --output json has them all\n", len(r.Problems)-i)
			break
		}
		fmt.Fprintln(w, p)
	}
}
