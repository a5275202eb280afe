// Package event is the connection event as it travels through Kafka: who
// connected, when, from which address and port. It decodes one JSON object per
// message, with a configurable field map, and refuses whatever is not exactly
// that: an event that could be read in two ways is read in none. There is no
// I/O and no clock in here.
//
// The packages of pipeline and the commands may import it. The invariant that it
// keeps: what Decode accepts is one unambiguous JSON object whose kept fields
// lie within their bounds, and a refusal says why without a byte of the input.
package event

import (
	"fmt"
	"io"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// Redacted is what an event prints as: it holds an address and an account.
const Redacted = "[event]"

// What an event that does not say otherwise is.
const (
	DefaultKind    = "connect"
	DefaultOutcome = "ok"
)

// Event is one connection event. The strings that Decode puts there are views,
// valid until the decoder's next Decode or until the message's bytes are used
// again: keep copies (strings.Clone).
type Event struct {
	Time      int64 // the event's own time, Unix milliseconds
	Since     int64 // when the connection began, Unix milliseconds; 0: not known
	Address   address.Address
	Ports     record.Ports
	Account   string
	Kind      string // the field "event": "connect", "auth_fail", …
	Session   string
	Server    string
	Transport string
	Client    string
	Outcome   string  // "ok" or a failure word
	RTT       float64 // milliseconds; negative: not known
	Topic     string  // set by whoever reads the topic; Decode leaves it alone
}

// Field gives the fields that a policy may match on, none of which identifies
// a person, and "" for every other name.
func (e *Event) Field(name string) string {
	switch name {
	case "topic":
		return e.Topic
	case "event":
		return e.Kind
	case "server":
		return e.Server
	case "transport":
		return e.Transport
	case "client":
		return e.Client
	case "outcome":
		return e.Outcome
	}
	return ""
}

// String is Redacted.
func (e Event) String() string { return Redacted }

// GoString is Redacted.
func (e Event) GoString() string { return Redacted }

// Format writes Redacted for every verb.
func (e Event) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalText is Redacted, and with it JSON and YAML.
func (e Event) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
