package event

// Refusal says why a message is no event; Accepted says that it is one. The set
// is fixed, so that a refusal can be a metric's label: none depends on the input.
type Refusal string

// The reasons. "no" is a required field that is missing or null, "bad" one that
// is there with the wrong type or a value outside its bounds.
const (
	Accepted     Refusal = ""
	Tombstone    Refusal = "tombstone"     // a record without a value
	Empty        Refusal = "empty"         // zero length, or only white space
	TooLarge     Refusal = "too_large"     // longer than MaxSize
	NotJSON      Refusal = "not_json"      // not exactly one JSON object (RFC 8259)
	BadUTF8      Refusal = "bad_utf8"      // invalid UTF-8, or half a surrogate pair
	DuplicateKey Refusal = "duplicate_key" // one key twice in an object, in whatever spelling
	TooDeep      Refusal = "too_deep"      // nested deeper than MaxDepth
	NoTime       Refusal = "no_time"
	BadTime      Refusal = "bad_time"
	NoAccount    Refusal = "no_account"
	BadAccount   Refusal = "bad_account"
	NoIP         Refusal = "no_ip"
	BadIP        Refusal = "bad_ip"
	BadPort      Refusal = "bad_port" // also: port_end below port, or without it
	BadEvent     Refusal = "bad_event"
	BadSince     Refusal = "bad_since"
	BadOutcome   Refusal = "bad_outcome"
	BadField     Refusal = "bad_field" // session, server, transport, client
	BadRTT       Refusal = "bad_rtt"
)

// Refusals are all of them, without Accepted.
var Refusals = []Refusal{
	Tombstone, Empty, TooLarge, NotJSON, BadUTF8, DuplicateKey, TooDeep,
	NoTime, BadTime, NoAccount, BadAccount, NoIP, BadIP, BadPort,
	BadEvent, BadSince, BadOutcome, BadField, BadRTT,
}
