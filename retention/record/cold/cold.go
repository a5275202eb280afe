// Package cold is how the records of a closed epoch are written for the rest of
// their window: few bytes for each, and any prefix of addresses in a contiguous
// run. It is pure; retention/store seals what it makes and keeps it in Redis, and
// nothing else imports it.
//
// A shard's records, sorted by address, are cut into blocks of about 12 kB. The
// Head has the first and the last address of each, so that a reader opens only those
// that a prefix can be in, and the Clock. For the look-up of an account there is an
// index of Pairs: of an account's name, a keyed hash, and the numbers of the blocks it is
// in; in the account view the numbers of the shards. Nothing is dropped:
// each record comes back as it went in, identity included.
//
// A Run is what was sorted at a time. Of a shard that does not fit in memory there are
// several, one after the other in the order of addresses. What was sealed before Kafka also
// leaves its Wraps, so that a batch which comes once more counts once.
//
// All are streams of bits, the lowest bit of a byte first. A block has columns:
//
//	rows, groups, distinct addresses
//	address    IPv4 as differences; IPv6 as differences of the upper halves, and the lower halves
//	group      groups per address, rows per group
//	account    per group: the one before, the next new one, or an earlier one; then the new ones as texts
//	session    per group: new, the one before, or none; then the new ones as texts
//	server, transport, client    per group: an index into the texts of the block
//	ports      per group: as before or not; width of the block of ports, first port
//	since      per group: known or not; first time − since
//	kind       per row: an index into (event, outcome, since known)
//	time       per group the first; per row the difference to the one before
//	identity   partition, per row or per group; offset − the Clock's guess; index
//
// A group is the rows of one connection: they differ in nothing but kind, time and
// identity. So a session's id, which is random and can't be compressed, is
// written once however often the session was heard of.
//
// A column of numbers is (value − base) / step in bits of one width, or the distance from
// a typical value as a Rice code (Rice and Plaunt 1971); whichever is shorter.
// A column of texts of one length has an alphabet for each position, so that a UUID of 36
// characters takes its 122 random bits.
//
// A reader goes past a column without reading it: its flags or the numbers in front say
// how long it is, Rice codes stand behind their length. So it reads of a block the
// addresses, or the accounts' texts, and then what belongs to those that it wants.
//
// On their way into blocks records are Rows, without pointers: what a compactor does with
// a record is mostly waiting for memory, so what many share is written once, and all
// are brought into order once.
//
// Offsets are nearly a function of time: the Clock has points of that function for
// each partition, and a row only how far it is from the line.
package cold

import "errors"

// ErrFormat says that bytes are not what this package writes.
var ErrFormat = errors.New("cold: malformed block")

const (
	// MaxRows is the most records in a block.
	MaxRows = 1 << 13
	// formatVersion is the first byte of blocks, heads and pairs.
	formatVersion = 2
)
