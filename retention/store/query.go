package store

import (
	"net/netip"
	"time"

	"mayfly/retention/record"
)

// Query asks for the records of one subject. Exactly one of Prefix and Account is set.
type Query struct {
	Prefix  netip.Prefix // IPv4 /16 to /32, IPv6 /32 to /128
	Account string
	From    time.Time // events at or after
	To      time.Time // events at or before
	// Policies narrows the look-up to the named ones; empty means all.
	Policies []string
	// Limit is the most records to return; 0 means no limit.
	Limit int
}

// Answer is what is known of a subject.
type Answer struct {
	// Records are unique by identity and sorted by time, then identity. None is past its deadline.
	Records []record.Record
	// Complete is false where something that was written is missing (a lost
	// write, an eviction, a lost key): a gap never looks like innocence.
	Complete bool
	// Truncated says that Limit cut the records off.
	Truncated bool
	// Refused counts what was sealed at the edge, lies where the subject would be,
	// and either does not open or is nothing that ingest would have taken. It
	// makes no answer incomplete: it was never an event.
	Refused int
	// Touched is how many records of generations were decoded to find these.
	Touched int
	// Scanned is how many records of frames, which no compactor has sorted yet, were
	// looked through: of most no more than the address.
	Scanned int
}
