// Package keyring keeps the epoch keys for exactly as long as their epochs
// may be read: it mints them, hands their public half to writers and the
// whole to readers, and destroys them at the deadline.
//
// A keyring is two or three standalone nodes without persistence or replicas,
// written in parallel and read from any. Private keys lie there only wrapped
// by the forward-secure key-encryption key (KEK), which is never there. The
// invariants:
//
//   - an entry has an absolute expiry from birth, at its epoch's deadline;
//   - what was destroyed is never minted or published again;
//   - destroyed never looks like lost, nor lost like never minted.
package keyring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"mayfly/retention"
	"mayfly/retention/seal"
)

// Callers branch on these.
var (
	// ErrDestroyed: the epoch is past its deadline or its purge; it never comes back.
	ErrDestroyed = errors.New("the epoch's key is destroyed")
	// ErrNotBegun: the node's clock has not reached the epoch's start.
	ErrNotBegun = errors.New("the epoch has not begun")
	// ErrNoKey: a living epoch has no key here, not minted yet or lost.
	ErrNoKey = errors.New("the epoch has no key")
)

// Public is what writers get of an epoch key.
type Public struct {
	Epoch    retention.Epoch
	ID       seal.KeyID
	Minted   time.Time
	Deadline time.Time
	Key      []byte   // HPKE public key
	Layout   [16]byte // routes subjects to shards, by a keyed hash
	Shards   uint32   // per view; frozen when the key is minted
	// Successor: the epoch had a key before, which every node has lost. What was
	// written under that may be lost unseen.
	Successor bool
}

// Keyring is the client of all nodes. It is safe for concurrent use.
type Keyring struct {
	nodes []Node
	mints singleflight.Group
	drawn sync.Map // by epoch: keys that were drawn and that no node has taken yet
}

// New makes a keyring of at least one node.
func New(nodes ...Node) (*Keyring, error) {
	if len(nodes) == 0 {
		return nil, errors.New("keyring.nodes: name two or three standalone Redis servers, redis://host:port/0")
	}
	return &Keyring{nodes: nodes}, nil
}

// Public gives the keys of a living epoch, newest first, or ErrNoKey.
// It fails only when no node answers.
func (k *Keyring) Public(ctx context.Context, epoch retention.Epoch) ([]Public, error) {
	fields, err := k.fetch(ctx, epoch, partPublic)
	if err != nil {
		return nil, err
	}
	keys, err := parsePublics(epoch, fields)
	if err == nil && len(keys) == 0 {
		err = ErrNoKey
	}
	return keys, err
}

func parsePublics(epoch retention.Epoch, fields map[string][]byte) ([]Public, error) {
	keys := make([]Public, 0, len(fields))
	for id, value := range fields {
		key, err := parsePublic(epoch, id, value)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b Public) int {
		return cmp.Or(b.Minted.Compare(a.Minted), slices.Compare(a.ID[:], b.ID[:]))
	})
	return keys, nil
}

// PublishWrap makes a writer's wrap known to readers, on at least one node that
// has the key. It comes before the writer's first frame, and again before later
// ones: a node that lost it has it back.
func (k *Keyring) PublishWrap(ctx context.Context, key Public, wrap seal.Wrap) error {
	contents := Contents{partWraps: {wrapField(key.ID, wrap.Writer): wrap.Encapsulated}}
	return k.onAny(ctx, func(ctx context.Context, _ int, n Node) (bool, error) {
		return true, n.Publish(ctx, key.Epoch, key.Deadline, contents)
	})
}

// contents unites what the nodes have of an epoch.
func (k *Keyring) contents(ctx context.Context, epoch retention.Epoch) (Contents, error) {
	fields := make([]map[string][]byte, len(parts))
	var g errgroup.Group
	for i, part := range parts {
		g.Go(func() (err error) {
			fields[i], err = k.fetch(ctx, epoch, part)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	contents := Contents{}
	for i, part := range parts {
		contents[part] = fields[i]
	}
	return contents, nil
}

func (c Contents) publics(epoch retention.Epoch) ([]Public, error) {
	return parsePublics(epoch, c[partPublic])
}

// Destroy deletes the epoch's entries on every node and raises each node's
// purged-through mark; it fails unless every node has done so.
func (k *Keyring) Destroy(ctx context.Context, epoch retention.Epoch, keepMark time.Duration) error {
	k.drawn.Delete(epoch)
	var g errgroup.Group
	for _, n := range k.nodes {
		g.Go(func() error {
			if err := n.Destroy(ctx, epoch, keepMark); err != nil {
				return fmt.Errorf("destroying epoch %v on keyring node %s: %w", epoch, n.Name(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Holding counts the nodes that answer and those of them that still hold
// anything of the epoch.
func (k *Keyring) Holding(ctx context.Context, epoch retention.Epoch) (answering, holding int) {
	var answers, holds atomic.Int32
	var g errgroup.Group
	for _, n := range k.nodes {
		g.Go(func() error {
			found, failed := false, false
			for _, part := range parts {
				fields, err := n.Fetch(ctx, epoch, part)
				failed = failed || err != nil
				found = found || len(fields) > 0
				if failed {
					break
				}
			}
			if !failed {
				answers.Add(1)
			}
			if found {
				holds.Add(1)
			}
			return nil
		})
	}
	_ = g.Wait()
	return int(answers.Load()), int(holds.Load())
}

// Epochs lists the epochs that have a key on any node that answers.
func (k *Keyring) Epochs(ctx context.Context) ([]retention.Epoch, error) {
	answers := make([][]retention.Epoch, len(k.nodes))
	err := k.onAny(ctx, func(ctx context.Context, i int, n Node) (_ bool, err error) {
		answers[i], err = n.Epochs(ctx)
		return len(answers[i]) > 0, err
	})
	if err != nil {
		return nil, err
	}
	seen := map[retention.Epoch]bool{}
	var epochs []retention.Epoch
	for _, epoch := range slices.Concat(answers...) {
		if !seen[epoch] {
			seen[epoch] = true
			epochs = append(epochs, epoch)
		}
	}
	return epochs, nil
}

// Nodes is how many nodes the keyring has.
func (k *Keyring) Nodes() int { return len(k.nodes) }

// fetch unites what all nodes that answer have of one part.
func (k *Keyring) fetch(ctx context.Context, epoch retention.Epoch, part Part) (map[string][]byte, error) {
	answers := make([]map[string][]byte, len(k.nodes))
	err := k.onAny(ctx, func(ctx context.Context, i int, n Node) (_ bool, err error) {
		answers[i], err = n.Fetch(ctx, epoch, part)
		return len(answers[i]) > 0, err
	})
	if err != nil {
		return nil, err
	}
	union := map[string][]byte{}
	for _, fields := range answers {
		for name, value := range fields {
			if before, there := union[name]; !there || sooner(part, before, value) {
				union[name] = value
			}
		}
	}
	return union, nil
}

// straggling is how long the other nodes have once one has answered: a node that
// hangs delays nothing for longer.
const straggling = 250 * time.Millisecond

// onAny does something on all nodes in parallel; do also tells whether its answer
// will do, so that the others need not be waited for: an empty node may just have
// been restarted. One success is success; that
// an epoch is destroyed is true only if every node says so, because one clock
// may be wrong.
func (k *Keyring) onAny(ctx context.Context, do func(context.Context, int, Node) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(k.nodes))
	var g errgroup.Group
	for i, n := range k.nodes {
		g.Go(func() error {
			enough, err := do(ctx, i, n)
			if errs[i] = err; err == nil && enough {
				time.AfterFunc(straggling, cancel)
			}
			return nil
		})
	}
	_ = g.Wait()
	var refusal, outage error
	destroyed := 0
	for i, err := range errs {
		switch {
		case err == nil:
			return nil
		case errors.Is(err, ErrDestroyed):
			destroyed++
		case errors.Is(err, ErrNotBegun), errors.Is(err, ErrNoKey):
			refusal = err
		default:
			outage = fmt.Errorf("keyring node %s: %w", k.nodes[i].Name(), err)
		}
	}
	switch {
	case destroyed == len(k.nodes):
		return ErrDestroyed
	case refusal != nil:
		return refusal
	case outage != nil:
		return outage
	}
	return fmt.Errorf("%d of %d keyring nodes say that the epoch is over: compare their clocks", destroyed, len(k.nodes))
}
