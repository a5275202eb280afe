package lookup

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/record"
)

// Tolerances around a moment.
const (
	DefaultTolerance = 60 * time.Second
	MaxTolerance     = 24 * time.Hour
)

// The widest prefixes: one look-up is about one network's customers, not about
// a whole provider.
const (
	widestIPv4 = 16
	widestIPv6 = 32
)

// longestInstant is the longest range that is a moment: logs give whole seconds.
const longestInstant = time.Second

// question is a Request that makes sense.
type question struct {
	kind    string       // the subject as receipts name it
	prefix  netip.Prefix // or
	account string
	port    *uint16
	names   []string // of policies; nil means all

	moment    bool // at and tolerance count
	at        time.Time
	tolerance time.Duration

	from, to time.Time // the range that was asked for, also around a moment
	oldest   time.Time // before it, everything has been purged
	purged   []Purged  // policies that have lost a part of the range
	limit    int
}

func parse(r Request, now time.Time, policies retention.Policies) (question, error) {
	q := question{names: r.Policies, limit: DefaultLimit}
	for _, step := range []func() error{
		func() error { return q.setSubject(r) },
		func() error { return q.setNarrowing(r) },
		func() error { return q.setWindow(r.Policies, now, policies) },
		func() error { return q.setTime(r, now) },
	} {
		if err := step(); err != nil {
			return question{}, err
		}
	}
	for i := range policies {
		if p := &policies[i]; q.asks(p.Name) && q.from.Before(oldestReadable(p, now)) {
			q.purged = append(q.purged, Purged{Policy: p.Name, Before: oldestReadable(p, now).UTC()})
		}
	}
	return q, nil
}

func (q *question) setSubject(r Request) error {
	given := 0
	for _, s := range []string{r.IP, r.Prefix, r.Account} {
		if s != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return refuse("", "give exactly one of ip, prefix and account")
	case r.IP != "":
		return q.setIP(r.IP)
	case r.Prefix != "":
		return q.setPrefix(r.Prefix)
	case len(r.Account) > 128 || !utf8.ValidString(r.Account):
		return refuse("account", "must be 1 to 128 bytes of UTF-8")
	}
	q.kind, q.account = "account", r.Account
	return nil
}

func (q *question) setIP(text string) error {
	ip, err := address.Parse(text)
	if err != nil {
		return refuse("ip", "%v", err)
	}
	q.kind, q.prefix = "ip", onePlace(ip.Reveal())
	return nil
}

func (q *question) setPrefix(text string) error {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return refuse("prefix", "must be an IPv4 or IPv6 prefix: an address, a slash and a length")
	}
	ip, bits, widest := prefix.Addr(), prefix.Bits(), widestIPv6
	if ip.Is4In6() {
		// Below 96 bits it would hold more than the IPv4 addresses, and fail the width.
		ip, bits = ip.Unmap(), max(bits-96, 0)
	}
	if ip.Is4() {
		widest = widestIPv4
	}
	if bits < widest {
		return refuse("prefix", "must be /%d or longer: a look-up is about one network's customers; ask for parts of it", widest)
	}
	q.prefix = netip.PrefixFrom(ip, bits).Masked()
	q.kind = "prefix /" + strconv.Itoa(bits)
	return nil
}

func (q *question) setNarrowing(r Request) error {
	if r.Port != nil {
		if *r.Port < 0 || *r.Port > 65535 {
			return refuse("port", "must be 0 to 65535")
		}
		port := uint16(*r.Port)
		q.port = &port
	}
	if r.Limit < 0 || r.Limit > MaxLimit {
		return refuse("limit", "must be 1 to %d", MaxLimit)
	}
	if r.Limit > 0 {
		q.limit = r.Limit
	}
	return nil
}

// setWindow finds how far back anything can be read.
func (q *question) setWindow(names []string, now time.Time, policies retention.Policies) error {
	known := make([]string, len(policies))
	for i := range policies {
		known[i] = policies[i].Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return refuse("policies", "must be among %s", strings.Join(known, ", "))
		}
	}
	for i := range policies {
		if p := &policies[i]; q.asks(p.Name) {
			if oldest := oldestReadable(p, now); q.oldest.IsZero() || oldest.Before(q.oldest) {
				q.oldest = oldest.UTC()
			}
		}
	}
	return nil
}

// setTime reads at and tolerance, or from and to.
func (q *question) setTime(r Request, now time.Time) error {
	if r.At == "" {
		return q.setRange(r, now)
	}
	if r.From != "" || r.To != "" {
		return refuse("at", "goes with tolerance, not with from or to")
	}
	var err error
	if q.at, err = parseTime("at", r.At); err != nil {
		return err
	}
	q.moment, q.tolerance = true, DefaultTolerance
	if r.Tolerance != "" {
		if q.tolerance, err = time.ParseDuration(r.Tolerance); err != nil || q.tolerance < 0 || q.tolerance > MaxTolerance {
			return refuse("tolerance", "must be a duration from 0s to 24h, such as 60s or 5m")
		}
	}
	q.from, q.to = q.at.Add(-q.tolerance), q.at.Add(q.tolerance)
	if q.from.After(now.Add(clockSkew)) {
		return refuse("at", "lies in the future: check the zone")
	}
	return nil
}

func (q *question) setRange(r Request, now time.Time) error {
	q.from, q.to = q.oldest, now.UTC()
	if r.Tolerance != "" {
		return refuse("tolerance", "goes with at")
	}
	var err error
	if r.From != "" {
		if q.from, err = parseTime("from", r.From); err != nil {
			return err
		}
	}
	if r.To != "" {
		if q.to, err = parseTime("to", r.To); err != nil {
			return err
		}
	}
	if q.from.After(q.to) {
		return refuse("from", "must not be after to")
	}
	return nil
}

// instant reports whether a range of an address is a moment by another name. What
// it finds is not widened to connections; but as with at, several accounts are not named.
func (q *question) instant() bool {
	return !q.moment && q.prefix.IsValid() && q.to.Sub(q.from) <= longestInstant
}

func parseTime(field, text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 {
		return time.Time{}, refuse(field, "must be RFC 3339 with a zone, such as 2026-11-07T10:00:00Z or 2026-11-07T11:00:00+01:00")
	}
	return t.UTC(), nil
}

func (q *question) asks(policy string) bool {
	return len(q.names) == 0 || slices.Contains(q.names, policy)
}

// fits reports whether a record of the asked range is an answer.
func (q *question) fits(r record.Record) bool {
	return q.port == nil || r.Ports.Contain(*q.port)
}

// oldestReadable is the start of p's oldest epoch whose deadline has not come.
func oldestReadable(p *retention.Policy, now time.Time) time.Time {
	return p.EpochAt(now.Add(-p.Window)).EndTime()
}

// onePlace is the prefix within which addresses count as one: an IPv6 household
// gets a /64 and changes addresses inside it.
func onePlace(ip netip.Addr) netip.Prefix {
	bits := ip.BitLen()
	if ip.Is6() {
		bits = min(bits, 64)
	}
	return netip.PrefixFrom(ip, bits).Masked()
}
