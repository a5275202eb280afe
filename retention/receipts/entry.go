package receipts

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"mayfly/retention"
)

// The types of entries.
const (
	TypePolicy      = "policy"
	TypeRemoved     = "removed"
	TypeKey         = "key"
	TypePurged      = "purged"
	TypeNeverMinted = "never minted"
	TypeLookup      = "lookup"
)

// Types are all of them.
var Types = []string{TypePolicy, TypeRemoved, TypeKey, TypePurged, TypeNeverMinted, TypeLookup, TypeCanary, TypePlanted}

// Bounds of entries.
const (
	MaxBasis = 512      // bytes of a legal basis
	MaxKeys  = 32       // key ids that a purge names; it counts the others
	maxEntry = 24 << 10 // bytes of any entry
)

// Grace is how long after its deadline an epoch's purge is in time.
const Grace = time.Second

// Entry is one typed entry of a log: *Policy, *Removed, *Key, *Purged,
// *NeverMinted, *Looked, *Canary or *Planted.
type Entry interface {
	Type() string
	// When is the time at which the entry was written, by the log's own clock.
	When() time.Time
	stamp(now time.Time)
	check() error
	fields(c *codec)
}

// Stamp is the part that all entries share.
type Stamp struct{ Time time.Time }

// When implements Entry.
func (s *Stamp) When() time.Time { return s.Time }

func (s *Stamp) stamp(now time.Time) { s.Time = now.UTC() }

// Policy says what is kept from now on: each of the epochs from First on, Length
// long, owes a Purged or a NeverMinted at its start + Window.
type Policy struct {
	Stamp
	Name   string
	Basis  string // the legal basis, in the operator's words
	Window time.Duration
	Length time.Duration
	First  int64 // start of the first epoch, Unix milliseconds
}

// Removed ends a policy. Epochs that had begun stay due.
type Removed struct {
	Stamp
	Name string
}

// Key announces an epoch key, before anybody can use it.
type Key struct {
	Stamp
	Epoch    retention.Epoch
	Deadline time.Time
	ID       string // of the key, in hexadecimal
	Shards   int64
	// Successor: this log had announced a key of the epoch before, and no node of
	// the keyring knows it any more.
	Successor bool
}

// Purged says that an epoch's keys were destroyed and that this was verified.
type Purged struct {
	Stamp
	Epoch    retention.Epoch
	Deadline time.Time
	At       time.Time // when it was verified
	Late     bool      // later than Grace after the deadline
	Keys     []string  // ids of the keys destroyed, MaxKeys at most
	KeyCount int64     // all of them
	Nodes    int64     // keyring nodes that answered and hold nothing
	Tally    *Tally    // what it had held; nil: not known
	Facts
}

// Facts describe who purged, and how.
type Facts struct {
	Method    string // one of Methods
	Assurance string // level of the guarantee, "0" to "3", or "unattested"
	Binary    string // SHA-256 of the program; empty: not known
	Config    string // SHA-256 of the configuration; empty: not known
}

// NeverMinted says that a run of epochs ended without a key in this log, and that
// the keyring held none.
type NeverMinted struct {
	Stamp
	Epoch    retention.Epoch // the first of the run
	Deadline time.Time       // of the first
	Count    int64           // epochs in the run, one after the other
	At       time.Time
	Late     bool // for one of them, or more
}

// Looked is a look-up's entry.
type Looked struct {
	Stamp
	ID string
	Lookup
}

// Type implements Entry.
func (*Policy) Type() string { return TypePolicy }

// Type implements Entry.
func (*Removed) Type() string { return TypeRemoved }

// Type implements Entry.
func (*Key) Type() string { return TypeKey }

// Type implements Entry.
func (*Purged) Type() string { return TypePurged }

// Type implements Entry.
func (*NeverMinted) Type() string { return TypeNeverMinted }

// Type implements Entry.
func (*Looked) Type() string { return TypeLookup }

// Lag is how long after the deadline the purge was verified.
func (e *Purged) Lag() time.Duration {
	return time.Duration(e.At.UnixMilli()-e.Deadline.UnixMilli()) * time.Millisecond
}

// Marshal is an entry's canonical JSON.
func Marshal(e Entry) ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	c := &codec{}
	e.fields(c)
	if err := c.end(); err != nil {
		return nil, err
	}
	if len(c.b) > maxEntry {
		return nil, errors.New("refusing a receipt: it is too large")
	}
	return c.b, nil
}

var typeMark = []byte(`"type":"`)

// Parse reads an entry. It takes nothing that Marshal would not have written.
func Parse(data []byte) (Entry, error) {
	// In a text every quotation mark has a backslash, so this is the field.
	at := bytes.LastIndex(data, typeMark)
	if at < 0 || len(data) > maxEntry {
		return nil, errNotCanonical
	}
	name, _, _ := bytes.Cut(data[at+len(typeMark):], []byte{'"'})
	e := newEntry(string(name))
	if e == nil {
		return nil, errors.New("a receipt of a type that this version does not know")
	}
	c := &codec{b: data, reading: true}
	e.fields(c)
	if err := c.end(); err != nil {
		return nil, err
	}
	return e, e.check()
}

func newEntry(name string) Entry {
	switch name {
	case TypePolicy:
		return &Policy{}
	case TypeRemoved:
		return &Removed{}
	case TypeKey:
		return &Key{}
	case TypePurged:
		return &Purged{}
	case TypeNeverMinted:
		return &NeverMinted{}
	case TypeLookup:
		return &Looked{}
	case TypeCanary:
		return &Canary{}
	case TypePlanted:
		return &Planted{}
	}
	return nil
}

// MethodSealed is the way of purging sealed epochs: the key-encryption key moved on,
// the keys deleted on every keyring node, the chunks unlinked.
const MethodSealed = "kek-advanced,keys-destroyed,chunks-unlinked"

// Methods are the ways of purging.
var Methods = []string{MethodSealed}

// Assurances are the levels of the guarantee; what nobody attested is no pass.
var Assurances = []string{"unattested", "0", "1", "2", "3"}

// NewPolicy is the entry of a policy that begins to apply now.
func NewPolicy(p *retention.Policy, now time.Time) *Policy {
	e := &Policy{Name: p.Name, Basis: CleanBasis(p.Basis), Window: p.Window, Length: p.EpochLength(), First: p.EpochAt(now).Start}
	if living := p.Live(now); len(living) > 0 {
		e.First = living[0].Start
	}
	return e
}

// Same reports whether two entries describe the same policy.
func (e *Policy) Same(other *Policy) bool {
	return other != nil && e.Name == other.Name && e.Basis == other.Basis && e.Window == other.Window && e.Length == other.Length
}

// errEncoding wraps what Marshal refuses.
func errEncoding(err error) error { return fmt.Errorf("encoding a receipt: %w", err) }
