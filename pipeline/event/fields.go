package event

import (
	"math"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// bad is the refusal for a field whose value is of the wrong type or outside
// its bounds.
var bad = [...]Refusal{
	fieldTime: BadTime, fieldAccount: BadAccount, fieldIP: BadIP,
	fieldPort: BadPort, fieldPortEnd: BadPort, fieldEvent: BadEvent,
	fieldSession: BadField, fieldSince: BadSince, fieldServer: BadField,
	fieldTransport: BadField, fieldClient: BadField, fieldOutcome: BadOutcome,
	fieldRTT: BadRTT,
}

// refuse notes that f is bad; the first one is what Decode tells.
func (d *Decoder) refuse(f field) {
	if d.fault == Accepted {
		d.fault = bad[f]
	}
}

// setText sets f from a string.
func (d *Decoder) setText(f field, text string, s shape) {
	d.found |= 1 << f
	e, ok := d.event, false
	switch f {
	case fieldTime:
		e.Time, ok = d.dates.parseInstant(text)
	case fieldSince:
		e.Since, ok = d.dates.parseInstant(text)
	case fieldAccount:
		e.Account, ok = text, text != "" && len(text) <= MaxAccount && clean(text, s)
	case fieldIP:
		var err error
		e.Address, err = address.Parse(text)
		ok = err == nil
	case fieldEvent:
		e.Kind, ok = text, isWord(text)
	case fieldOutcome:
		e.Outcome, ok = text, isWord(text)
	case fieldSession:
		e.Session, ok = text, len(text) <= MaxName && clean(text, s)
	case fieldServer:
		e.Server, ok = text, len(text) <= MaxName && clean(text, s)
	case fieldTransport:
		e.Transport, ok = text, len(text) <= MaxSoftware && clean(text, s)
	case fieldClient:
		e.Client, ok = text, len(text) <= MaxSoftware && clean(text, s)
	}
	if !ok {
		d.refuse(f)
	}
}

// setNumber sets f from a number, which is whole where it has neither fraction
// nor exponent.
func (d *Decoder) setNumber(f field, text string, whole bool) {
	d.found |= 1 << f
	e, ok := d.event, false
	switch f {
	case fieldTime:
		e.Time, ok = instantNumber(text, whole)
	case fieldSince:
		e.Since, ok = instantNumber(text, whole)
	case fieldPort:
		var port uint16
		port, ok = portNumber(text, whole)
		e.Ports = record.Ports{First: port, Last: port, Known: true}
	case fieldPortEnd:
		d.portEnd, ok = portNumber(text, whole)
	case fieldRTT:
		e.RTT, ok = parseDuration(text)
	}
	if !ok {
		d.refuse(f)
	}
}

func instantNumber(text string, whole bool) (int64, bool) {
	if !whole {
		return 0, false
	}
	ms, ok := parseInt(text)
	return ms, ok && minInstant <= ms && ms <= maxInstant
}

func portNumber(text string, whole bool) (uint16, bool) {
	if !whole || text[0] == '-' {
		return 0, false
	}
	v, ok := parseInt(text)
	return uint16(v), ok && v <= math.MaxUint16 //nolint:gosec // used only where it fits
}

// isWord reports whether s is a lower-case word: [a-z][a-z0-9_]{0,31}.
func isWord(s string) bool {
	if s == "" || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && c-'0' > 9 && c != '_' {
			return false
		}
	}
	return true
}
