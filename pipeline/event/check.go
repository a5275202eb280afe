package event

import (
	"math"
	"unicode/utf8"
)

// Check reports what the decoder would have refused in an event that it did not
// make: Accepted where e is one that it could have.
func (e *Event) Check() Refusal {
	text := func(s string, most int) bool { return len(s) <= most && clean(s, unusual) }
	instant := func(ms int64) bool { return minInstant <= ms && ms <= maxInstant }
	switch {
	case !instant(e.Time):
		return BadTime
	case e.Account == "":
		return NoAccount
	case !text(e.Account, MaxAccount):
		return BadAccount
	case !e.Address.IsValid():
		return NoIP
	case e.Ports.Last < e.Ports.First:
		return BadPort
	case !isWord(e.Kind):
		return BadEvent
	case !isWord(e.Outcome):
		return BadOutcome
	case e.Since != 0 && !instant(e.Since):
		return BadSince
	case !text(e.Session, MaxName), !text(e.Server, MaxName), !text(e.Transport, MaxSoftware), !text(e.Client, MaxSoftware):
		return BadField
	case math.IsNaN(e.RTT), math.IsInf(e.RTT, 0):
		return BadRTT
	}
	for _, s := range []string{e.Account, e.Session, e.Server, e.Transport, e.Client} {
		if !utf8.ValidString(s) {
			return BadUTF8
		}
	}
	return Accepted
}
