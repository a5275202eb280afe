package lookup

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"mayfly/retention/record"
	"mayfly/retention/store"
)

// connection is what several events say of one thing: an account was here from
// begin to last. Times are Unix milliseconds.
type connection struct {
	account, session string
	begin            int64 // when it began by what its events say, at most first
	first, last      int64 // when it was seen
	rows             []int // of the records it was made from
	ended            bool  // a disconnect was seen
	lasting          bool  // a connect was seen: other events belong to it
	port             bool  // an event of a known port was seen
}

// connectionKey tells connections apart. A session id does it alone; without
// one, address and ports must.
type connectionKey struct {
	account, session string
	place            netip.Prefix
	ports            record.Ports
}

func keyOf(r *record.Record) connectionKey {
	if r.Session != "" {
		return connectionKey{account: r.Account, session: r.Session}
	}
	return connectionKey{account: r.Account, place: onePlace(r.Address.Reveal()), ports: r.Ports}
}

// connections groups records, which are in time order. Where a port was asked
// for, events of other ports are left out, and connections of no known port.
func connections(records []record.Record, q question) []*connection {
	var all []*connection
	open := map[connectionKey]*connection{}
	for i := range records {
		r := &records[i]
		if r.Ports.Known && !q.fits(*r) {
			continue
		}
		key := keyOf(r)
		c := open[key]
		if c == nil || r.Session == "" && !c.goesOn(r) {
			c = &connection{account: r.Account, session: r.Session, begin: r.Time, first: r.Time}
			open[key] = c
			all = append(all, c)
		}
		c.add(i, r)
	}
	if q.port != nil {
		all = slices.DeleteFunc(all, func(c *connection) bool { return !c.port })
	}
	return all
}

// goesOn reports whether r, which has no session id, belongs to c. Two failed
// log-ins an hour apart don't make a connection of an hour.
func (c *connection) goesOn(r *record.Record) bool {
	switch {
	case c.ended || r.Event == "connect":
		return false
	case r.Since != 0:
		return r.Since <= c.last
	default:
		return c.lasting || r.Event == "alive" || r.Event == "disconnect"
	}
}

func (c *connection) add(row int, r *record.Record) {
	if r.Since != 0 {
		c.begin = min(c.begin, r.Since)
	}
	c.last = max(c.last, r.Time)
	c.rows = append(c.rows, row)
	c.port = c.port || r.Ports.Known
	c.lasting = c.lasting || r.Event == "connect"
	c.ended = c.ended || r.Event == "disconnect"
}

func overlapping(all []*connection, from, to time.Time) []*connection {
	var found []*connection
	for _, c := range all {
		if c.begin <= to.UnixMilli() && c.last >= from.UnixMilli() {
			found = append(found, c)
		}
	}
	return found
}

// mostDoubts bounds the extra queries of settle; with so many accounts the
// answer names none anyway.
const mostDoubts = 16

// settle looks closer at connections that match by their beginning alone, before
// they were first seen here. A session may have begun at another address and
// moved: then its account was not here at the moment, and must not be named.
func (l *Lookups) settle(ctx context.Context, q question, matching []*connection) ([]*connection, bool, error) {
	complete := true
	doubtful := func(c *connection) bool {
		return q.prefix.IsValid() && c.session != "" && c.first > q.to.UnixMilli()
	}
	for i, doubts := 0, 0; i < len(matching) && doubts < mostDoubts; i++ {
		c := matching[i]
		if !doubtful(c) {
			continue
		}
		doubts++
		answer, err := l.log.Find(ctx, store.Query{
			Account: c.account, Policies: q.names, Limit: l.most,
			From: later(time.UnixMilli(c.begin), q.oldest), To: time.UnixMilli(c.first),
		})
		if err != nil {
			return nil, false, err
		}
		complete = complete && answer.Complete && !answer.Truncated
		for i := range answer.Records {
			r := &answer.Records[i]
			if r.Session == c.session && !q.prefix.Contains(r.Address.Reveal()) {
				c.begin = max(c.begin, r.Time+1)
			}
		}
	}
	return overlapping(matching, q.from, q.to), complete, nil
}

// recordsOf gives the connections' records in time order.
func recordsOf(records []record.Record, connections []*connection) []record.Record {
	var rows []int
	for _, c := range connections {
		rows = append(rows, c.rows...)
	}
	slices.Sort(rows)
	found := make([]record.Record, len(rows))
	for i, row := range rows {
		found[i] = records[row]
	}
	return found
}

func countAccounts(connections []*connection) int {
	accounts := map[string]struct{}{}
	for _, c := range connections {
		accounts[c.account] = struct{}{}
	}
	return len(accounts)
}

// ladder are the tolerances that uniqueWithin tries besides the one asked for.
var ladder = []time.Duration{
	time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, MaxTolerance,
}

// uniqueWithin is the widest tolerance around at that fits a single account, 0 if
// none does: how wrong a clock may be before the answer would change.
func uniqueWithin(all []*connection, at time.Time, asked time.Duration) time.Duration {
	var widest time.Duration
	for _, tolerance := range append([]time.Duration{asked}, ladder...) {
		if countAccounts(overlapping(all, at.Add(-tolerance), at.Add(tolerance))) == 1 {
			widest = max(widest, tolerance)
		}
	}
	return widest
}
