package event

import (
	"math"
	"strings"
	"testing"

	"mayfly/retention/record"
)

// What Check accepts is what the decoder accepts once it is written, and nothing else.
func TestCheckAgreesWithTheDecoder(t *testing.T) {
	t.Parallel()
	decoder, err := NewDecoder(nil)
	if err != nil {
		t.Fatal(err)
	}
	var good Event
	const message = `{"time":1763775000000,"account":"ada","ip":"192.0.2.7","port":7,"session":"s","server":"web","client":"c"}`
	if refusal := decoder.Decode([]byte(message), &good); refusal != Accepted {
		t.Fatal(refusal)
	}
	for name, spoil := range map[string]func(*Event){
		"good":                func(*Event) {},
		"a block of ports":    func(e *Event) { e.Ports.Last = 9 },
		"no ports":            func(e *Event) { e.Ports = record.Ports{} },
		"an account in UTF-8": func(e *Event) { e.Account = "Ádá" },
		"no account":          func(e *Event) { e.Account = "" },
		"a long account":      func(e *Event) { e.Account = strings.Repeat("a", MaxAccount+1) },
		"a control character": func(e *Event) { e.Account = "a\x1b" },
		"no time":             func(e *Event) { e.Time = math.MinInt64 },
		"a block upside down": func(e *Event) { e.Ports = record.Ports{First: 2, Last: 1, Known: true} },
		"no word":             func(e *Event) { e.Kind = "Connect" },
		"no outcome's word":   func(e *Event) { e.Outcome = "a b" },
		"since never":         func(e *Event) { e.Since = math.MaxInt64 },
		"a long session":      func(e *Event) { e.Session = strings.Repeat("s", MaxName+1) },
		"a long client":       func(e *Event) { e.Client = strings.Repeat("c", MaxSoftware+1) },
	} {
		e := good
		spoil(&e)
		var back Event
		decoded := decoder.Decode(Append(nil, &e), &back)
		if checked := e.Check(); (checked == Accepted) != (decoded == Accepted) {
			t.Errorf("%s: Check says %q, the decoder %q", name, checked, decoded)
		}
	}
	for name, spoil := range map[string]func(*Event){
		"no address": func(e *Event) { e.Address = Event{}.Address },
		"no UTF-8":   func(e *Event) { e.Server = "\xff" },
		"no number":  func(e *Event) { e.RTT = math.NaN() },
	} {
		e := good
		if spoil(&e); e.Check() == Accepted {
			t.Errorf("%s: accepted", name)
		}
	}
}
