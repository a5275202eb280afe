package receipts

import (
	"errors"
	"slices"
	"time"

	"mayfly/retention"
)

// The types of entries about connections that were invented to be looked for.
const (
	TypeCanary  = "canary"
	TypePlanted = "planted"
)

// Failures are the ways in which something of a canary outlived its deadline.
var Failures = []string{
	FailureEntry, FailureKey, FailureCache, FailureChunks, FailureFound, FailureRead,
}

// The failures, in the order of an attack.
const (
	FailureEntry  = "entry"  // a keyring node still holds something of its epoch
	FailureKey    = "key"    // a private key of its epoch can be unwrapped
	FailureCache  = "cache"  // a process still has a key of its epoch in memory
	FailureChunks = "chunks" // the store still has frames or a directory of its epoch
	FailureFound  = "found"  // an ordinary look-up finds it
	FailureRead   = "read"   // it was read back
)

// Canary is what became of one canary after its epoch's deadline, when everything
// that could have been copied before was tried. It holds no address and no account.
type Canary struct {
	Stamp
	Epoch      retention.Epoch
	Deadline   time.Time
	At         time.Time // when it was tried
	Found      int64     // milliseconds from sending until who tries it found it in both views; -1: never
	Frames     int64     // sealed frames kept from before the deadline
	Keys       int64     // wrapped private keys kept from before, and found after
	Nodes      int64     // keyring nodes that answered
	Caches     int64     // processes that were asked for keys in memory
	Unanswered int64     // nodes, processes and stores that did not answer
	Failures   []string  // each of Failures, once
}

// Passed reports whether everybody answered and nothing was left.
func (e *Canary) Passed() bool { return len(e.Failures) == 0 && e.Unanswered == 0 }

// Planted is an auditor's commitment to connections that will be, or were, sent
// like any others: a salted hash of their list, which says nothing without the
// salt. Who has both can prove that they were chosen before the entry.
type Planted struct {
	Stamp
	ID         string
	Commitment string // 64 hexadecimal digits
	Count      int64  // of connections
}

// Type implements Entry.
func (*Canary) Type() string { return TypeCanary }

// Type implements Entry.
func (*Planted) Type() string { return TypePlanted }

func (e *Canary) check() error {
	for i, failure := range e.Failures {
		if !slices.Contains(Failures, failure) || slices.Contains(e.Failures[:i], failure) {
			return errors.New("refusing a receipt: an unknown failure of a canary")
		}
	}
	if e.Found < -1 || min(e.Frames, e.Keys, e.Nodes, e.Caches, e.Unanswered) < 0 || e.At.Before(e.Deadline) {
		return errors.New("refusing a receipt: a canary that can't be")
	}
	return nil
}

// MaxPlanted is the most connections of one commitment.
const MaxPlanted = 100_000

// CheckPlanted accepts a commitment to n connections.
func CheckPlanted(commitment string, n int64) error {
	if !isHex(commitment, 64) || n < 1 || n > MaxPlanted {
		return errors.New("a commitment is a SHA-256 in lower-case hexadecimal, to 1 to 100000 connections")
	}
	return nil
}

func (e *Planted) check() error {
	if !plainID(e.ID) || CheckPlanted(e.Commitment, e.Count) != nil {
		return errors.New("refusing a receipt: not a commitment")
	}
	return nil
}

func (e *Canary) fields(c *codec) {
	c.instant("at", &e.At)
	c.integer("caches", &e.Caches)
	c.instant("deadline", &e.Deadline)
	c.epoch(&e.Epoch)
	c.list("failures", &e.Failures)
	c.integer("found_ms", &e.Found)
	c.integer("frames", &e.Frames)
	c.integer("keys", &e.Keys)
	c.integer("nodes", &e.Nodes)
	c.instant("time", &e.Time)
	c.constant("type", TypeCanary)
	c.integer("unanswered", &e.Unanswered)
}

func (e *Planted) fields(c *codec) {
	c.text("commitment", &e.Commitment)
	c.integer("count", &e.Count)
	c.text("id", &e.ID)
	c.instant("time", &e.Time)
	c.constant("type", TypePlanted)
}
