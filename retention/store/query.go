package store

import (
	"bytes"
	"cmp"
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
}

// compareRecords orders records by time, then identity.
func compareRecords(a, b record.Record) int {
	return cmp.Or(
		cmp.Compare(a.Time, b.Time),
		bytes.Compare(a.ID.Topic[:], b.ID.Topic[:]),
		cmp.Compare(a.ID.Partition, b.ID.Partition),
		cmp.Compare(a.ID.Offset, b.ID.Offset),
		cmp.Compare(a.ID.Index, b.ID.Index),
	)
}
