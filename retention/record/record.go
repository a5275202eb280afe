// Package record holds what the IP log stores of one connection event, and its
// column encoding inside a sealed frame. A Record prints as "[record]": it
// holds an address and an account.
package record

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"unsafe"

	"mayfly/retention/address"
)

// ID is the identity of an event: the place in Kafka that it was read from.
// A topic that is created again starts at offset 0 again; its UUID differs. The fields leave
// no gap: a map hashes such a key in one piece, which a look-up that finds much waits for.
type ID struct {
	Topic     [16]byte // the topic's UUID (KIP-516)
	Offset    int64
	Partition int32
	Index     uint32 // among the events of a batch that was sealed at the edge, which is one Kafka record; else 0
}

// Compare orders by topic, partition, offset and index.
func (id ID) Compare(other ID) int {
	return cmp.Or(
		bytes.Compare(id.Topic[:], other.Topic[:]),
		cmp.Compare(id.Partition, other.Partition),
		cmp.Compare(id.Offset, other.Offset),
		cmp.Compare(id.Index, other.Index),
	)
}

// Ports is the source port of a connection (RFC 6302), or the block of ports
// that a carrier-grade NAT gave it (RFC 7422). The zero value is "not known".
type Ports struct {
	First, Last uint16
	Known       bool
}

// Contain reports whether port is one of p.
func (p Ports) Contain(port uint16) bool {
	return p.Known && p.First <= port && port <= p.Last
}

// Record is one event of the IP log.
type Record struct {
	ID      ID
	Time    int64 // Unix milliseconds: the earlier of the event's own time and the record's stamp
	Since   int64 // Unix milliseconds at which the connection began; 0 where it is not known
	Address address.Address
	Ports   Ports
	Account string
	Event   string // "connect", "auth_fail", …
	Session string
	Server  string
	// Stored only where the policy keeps them.
	Transport, Client, Outcome string
}

// String is "[record]".
func (r Record) String() string { return "[record]" }

// GoString is "[record]".
func (r Record) GoString() string { return "[record]" }

// Format writes "[record]" for every verb.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[record]") }

// MarshalText is "[record]", and with it JSON and YAML.
func (r Record) MarshalText() ([]byte, error) { return []byte("[record]"), nil }

// Own gives records strings of their own, in one piece of memory; without it they keep
// the whole payload that they were decoded from. Strings that neighbours share, they
// share again.
func Own(records []Record) {
	var text []byte
	var last, copied Record
	for i := range records {
		r := &records[i]
		before := *r
		for _, field := range stringColumns {
			s, l := field(r), field(&last)
			if i > 0 && len(*s) == len(*l) && unsafe.StringData(*s) == unsafe.StringData(*l) {
				*s = *field(&copied)
				continue
			}
			if len(*s) == 0 {
				continue
			}
			if cap(text)-len(text) < len(*s) {
				text = make([]byte, 0, max(256, min(2*cap(text), 32<<10), len(*s)))
			}
			from := len(text)
			text = append(text, *s...)
			*s = unsafe.String(unsafe.SliceData(text[from:]), len(*s)) // nothing else is written there
		}
		last, copied = before, *r
	}
}

// Move replaces each of r's strings by the copy that to makes of it.
func (r *Record) Move(to func(string) string) {
	for _, field := range stringColumns {
		s := field(r)
		*s = to(*s)
	}
}
