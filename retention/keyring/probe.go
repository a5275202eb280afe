package keyring

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"mayfly/retention"
	"mayfly/retention/seal"
)

// Copy is what somebody could have taken of an epoch from one node: wrapped and
// encapsulated keys, worth nothing without the key-encryption key. The canaries'
// prober takes one while an epoch lives, and tries to open it once it is dead.
type Copy struct {
	Epoch    retention.Epoch
	contents Contents
}

// Copies takes what each node has of an epoch now, straight from the nodes and
// whatever its deadline says. answering is how many nodes told all of it; those
// that hold nothing give no copy.
func (k *Keyring) Copies(ctx context.Context, epoch retention.Epoch) (copies []Copy, answering int) {
	var wait sync.WaitGroup
	found, answered := make([]Contents, len(k.nodes)), make([]bool, len(k.nodes))
	for i, node := range k.nodes {
		wait.Go(func() {
			contents := Contents{}
			for _, part := range parts {
				fields, err := node.Fetch(ctx, epoch, part)
				if err != nil {
					return
				}
				if len(fields) > 0 {
					contents[part] = fields
				}
			}
			found[i], answered[i] = contents, true
		})
	}
	wait.Wait()
	for i, contents := range found {
		if answered[i] {
			answering++
		}
		if len(contents) > 0 {
			copies = append(copies, Copy{epoch, contents})
		}
	}
	return copies, answering
}

// Keys is how many private keys are in it, all of them wrapped.
func (c Copy) Keys() int { return len(c.contents[partPrivate]) }

// Wrap is the encapsulated frame key of a writer; nil where it is not in the copy.
func (c Copy) Wrap(key seal.KeyID, writer seal.WriterID) []byte {
	return slices.Clone(c.contents[partWraps][wrapField(key, writer)])
}

// Break gives every private key of c that kek unwraps: after the epoch's deadline
// there must be none.
func (c Copy) Break(kek KEK) map[seal.KeyID]seal.PrivateKey {
	broken := map[seal.KeyID]seal.PrivateKey{}
	publics, err := c.contents.publics(c.Epoch)
	if err != nil {
		return broken
	}
	for _, public := range publics {
		secret, err := public.unwrap(kek, c.contents[partPrivate][public.ID.String()])
		if err != nil {
			continue
		}
		private, err := seal.ParsePrivateKey(secret)
		clear(secret)
		if err == nil {
			broken[public.ID] = private
		}
	}
	return broken
}

// Deadline is the earliest of the keys in c; the zero time where there is none.
func (c Copy) Deadline() (earliest time.Time) {
	publics, _ := c.contents.publics(c.Epoch)
	for _, public := range publics {
		if earliest.IsZero() || public.Deadline.Before(earliest) {
			earliest = public.Deadline
		}
	}
	return earliest
}

// Stored is the key-encryption key as its file has it at this moment, not moved
// on to the present: what a thief of the file would hold.
func (k *KEKFile) Stored() (KEK, error) {
	var stored *chain
	err := k.locked(func(file *os.File) error {
		slot, key, err := readState(file)
		if err == nil {
			stored = newChain(slot, key)
		}
		return err
	})
	return stored, err
}

// ErrAlive refuses to probe an epoch whose deadline has not come.
var ErrAlive = errors.New("the epoch is alive")

// Probe tries what this process still has in memory of an epoch that should be
// dead on sealed bytes of it, due or not: holds reports a cached key, opens that
// it opens the frame. A frame with no bytes only asks for keys. While a key's
// deadline has not come it answers nothing but ErrAlive, so that nobody learns
// from it what a living frame is.
func (o *Opener) Probe(now time.Time, frame *seal.Frame, encapsulated []byte) (holds, opens bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	entry := o.cache[frame.Place.Epoch]
	if entry == nil {
		return false, false, nil
	}
	if now.Before(entry.deadline) {
		return false, false, ErrAlive
	}
	for _, key := range entry.keys {
		if key.ID != frame.Place.Key {
			continue
		}
		reader, err := seal.NewReader(frame.Place.Epoch, key.ID, key.private, seal.Wrap{Writer: frame.Writer, Encapsulated: encapsulated})
		if err != nil {
			continue
		}
		if _, err := reader.Open(frame); err == nil {
			return true, true, nil
		}
	}
	return true, false, nil
}
