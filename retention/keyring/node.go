package keyring

import (
	"context"
	"time"

	"mayfly/retention"
)

// Part is one of the three things that a node holds of an epoch, kept apart so
// that a server's access list can give writers the first and the last only.
type Part string

const (
	partPublic  Part = "public"  // key id → what writers get
	partPrivate Part = "private" // key id → private key under the KEK
	partWraps   Part = "wraps"   // key id and writer → encapsulated frame key
)

var parts = [...]Part{partPublic, partPrivate, partWraps}

// Contents are fields of an epoch by part.
type Contents map[Part]map[string][]byte

// Life is what a node says of an epoch.
type Life struct {
	Held      bool          // a key of it is here
	Remaining time.Duration // until that expires, by the node's own clock
	Purged    bool          // it is at or below its length's purged-through mark: no key of it is taken any more
}

// Node is one key server.
type Node interface {
	// Publish adds fields to an epoch, replacing one only by the same key for an
	// earlier deadline, and gives each part
	// an absolute expiry at deadline, never a later one than it has. It is one
	// atomic step by the node's own clock. It refuses with ErrDestroyed when the
	// epoch is at or below its length's purged-through mark or its deadline has passed,
	// with ErrNotBegun before its start, and with ErrNoKey a wrap whose epoch
	// has no key here.
	Publish(ctx context.Context, epoch retention.Epoch, deadline time.Time, fields Contents) error
	// Fetch reads one part of an epoch; nothing there is an empty map.
	Fetch(ctx context.Context, epoch retention.Epoch, part Part) (map[string][]byte, error)
	// Destroy deletes the epoch and raises the purged-through mark to it, in one
	// atomic step. The mark is kept for keepMark, or for as long as it was to be
	// before, where that is longer. Destroying twice is no error.
	Destroy(ctx context.Context, epoch retention.Epoch, keepMark time.Duration) error
	// Lives tells of epochs, in their order, for how long they live here, and the
	// node's clock, in one exchange. It reads nothing that is secret.
	Lives(ctx context.Context, epochs ...retention.Epoch) (now time.Time, lives []Life, err error)
	// Lease gives the warden's lease to by for a span where nobody else has it, and
	// takes it back for a span of 0, in one atomic step. It tells who has it then,
	// "" for nobody, and for how long.
	Lease(ctx context.Context, by string, span time.Duration) (holder string, left time.Duration, err error)
	// Epochs lists the epochs that have a key here, in no order: those of a policy
	// that was removed or changed can't be reckoned from the present policies.
	Epochs(ctx context.Context) ([]retention.Epoch, error)
	// Name is the node's name for logs and metrics, free of secrets.
	Name() string
}
