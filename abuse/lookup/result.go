package lookup

import (
	"time"

	"mayfly/retention/record"
)

// Result is an answer.
type Result struct {
	Events   []Event `json:"events" nullable:"false" doc:"in time order; with at, all events of the connections that match"`
	Accounts int     `json:"accounts" doc:"how many accounts match"`
	// Ambiguous is set where a moment, however it was asked for, fits several accounts:
	// none is named then.
	Ambiguous bool      `json:"ambiguous" doc:"several accounts match at, or a range of a second, so none is named: add the source port or lower the tolerance"`
	Complete  bool      `json:"complete" doc:"false: something that was stored is missing, so finding nothing proves nothing"`
	From      time.Time `json:"from" doc:"start of the time asked for"`
	To        time.Time `json:"to" doc:"end of the time asked for"`
	Truncated bool      `json:"truncated" doc:"limit cut events off"`
	Receipt   string    `json:"receipt" doc:"id of the entry that this look-up left"`
	// UniqueWithin is how wrong the clock may be before another account fits.
	UniqueWithin float64 `json:"unique_within,omitempty" doc:"seconds: the widest tried tolerance around at that fits one account only"`
	// PurgedBefore is set where the request asks for time that nobody can read any more.
	PurgedBefore time.Time `json:"purged_before,omitzero" doc:"everything before this time has been purged, and the request asks for some of it"`
	Purged       []Purged  `json:"purged,omitempty" doc:"policies that have purged a part of the time asked for"`

	found int // events, counted also where none is shown
}

// Purged says how far a policy has purged.
type Purged struct {
	Policy string    `json:"policy"`
	Before time.Time `json:"before"`
}

// Event is one event of an answer.
type Event struct {
	Time      time.Time `json:"time"`
	Account   string    `json:"account"`
	IP        string    `json:"ip"`
	Port      *uint16   `json:"port,omitempty"`
	PortEnd   *uint16   `json:"port_end,omitempty" doc:"last port of a block"`
	Event     string    `json:"event"`
	Server    string    `json:"server,omitempty"`
	Session   string    `json:"session,omitempty"`
	Since     time.Time `json:"since,omitzero" doc:"when the connection began"`
	Transport string    `json:"transport,omitempty"`
	Client    string    `json:"client,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
}

// result is the empty answer to q.
func (q *question) result() Result {
	r := Result{Events: []Event{}, Complete: true, From: q.from, To: q.to, Purged: q.purged}
	if q.from.Before(q.oldest) {
		r.PurgedBefore = q.oldest
	}
	return r
}

// show reveals records in r: the only place where an address leaves the log.
func (r *Result) show(records []record.Record, limit int) {
	if len(records) > limit {
		records, r.Truncated = records[:limit], true
	}
	r.Events = make([]Event, len(records))
	for i := range records {
		r.Events[i] = reveal(&records[i])
	}
	r.found = len(records)
	r.Accounts = max(r.Accounts, accountsOf(records))
}

func accountsOf(records []record.Record) int {
	accounts := map[string]struct{}{}
	for i := range records {
		accounts[records[i].Account] = struct{}{}
	}
	return len(accounts)
}

func reveal(r *record.Record) Event {
	e := Event{
		Time:    time.UnixMilli(r.Time).UTC(),
		Account: r.Account,
		IP:      r.Address.Reveal().String(),
		Event:   r.Event, Server: r.Server, Session: r.Session,
		Transport: r.Transport, Client: r.Client, Outcome: r.Outcome,
	}
	if r.Since != 0 {
		e.Since = time.UnixMilli(r.Since).UTC()
	}
	if r.Ports.Known {
		e.Port = new(r.Ports.First)
		if r.Ports.Last != r.Ports.First {
			e.PortEnd = new(r.Ports.Last)
		}
	}
	return e
}
