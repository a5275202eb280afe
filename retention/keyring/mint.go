package keyring

import (
	"context"
	"slices"
	"time"

	"mayfly/retention"
)

// Mint gives the epoch a key that kek opens, where it has none, and returns all
// that it has, newest first. announce is called with a new key before anybody
// can use it; shards lays it out. Every entry that some nodes have and others
// lack is published to all, by the same atomic step.
func (k *Keyring) Mint(ctx context.Context, epoch retention.Epoch, deadline time.Time, kek KEK,
	shards func() uint32, announce func(Public) error,
) ([]Public, error) {
	return k.MintKnowing(ctx, epoch, deadline, kek, func() bool { return false }, shards, announce)
}

// MintKnowing is Mint by somebody who remembers: had tells whether the epoch had a
// key before. If it had, and no node has one that opens, a new key is a Successor.
func (k *Keyring) MintKnowing(ctx context.Context, epoch retention.Epoch, deadline time.Time, kek KEK,
	had func() bool, shards func() uint32, announce func(Public) error,
) ([]Public, error) {
	keys, err, _ := k.mints.Do(epoch.String(), func() (any, error) {
		return k.mint(ctx, epoch, deadline, kek, had, shards, announce)
	})
	if err != nil {
		return nil, err
	}
	return slices.Clone(keys.([]Public)), nil
}

// mint is called for an epoch by one at a time: to somebody who had looked at the
// nodes before another published, the other's key would look like one that was lost.
func (k *Keyring) mint(ctx context.Context, epoch retention.Epoch, deadline time.Time, kek KEK,
	had func() bool, shards func() uint32, announce func(Public) error,
) ([]Public, error) {
	before := had() // and then look: what is seen in between is no loss
	contents, err := k.contents(ctx, epoch)
	if err != nil {
		return nil, err
	}
	if contents.opens(epoch, kek) {
		k.drawn.Delete(epoch)
	} else {
		d, err := k.draw(epoch, deadline, kek, before, shards, announce)
		if err != nil {
			return nil, err
		}
		contents.precede(&d.public)
		contents[partPublic][d.public.ID.String()] = d.public.marshal()
		contents[partPrivate][d.public.ID.String()] = d.private
	}
	err = k.onAny(ctx, func(ctx context.Context, _ int, n Node) (bool, error) {
		return true, n.Publish(ctx, epoch, deadline, contents)
	})
	if err != nil {
		return nil, err
	}
	k.drawn.Delete(epoch)
	return contents.publics(epoch)
}

// drawn is a key that no node has yet, its private half wrapped.
type drawn struct {
	public    Public
	private   []byte
	announced bool
}

// draw makes and announces a key. One that could not be announced in full, or that
// no node took, is offered again: were another drawn, the first, which may be logged
// already, would look like one that was lost.
func (k *Keyring) draw(epoch retention.Epoch, deadline time.Time, kek KEK,
	successor bool, shards func() uint32, announce func(Public) error,
) (drawn, error) {
	var d drawn
	if before, again := k.drawn.Load(epoch); again {
		d = before.(drawn)
	} else {
		var err error
		if d.public, d.private, err = newEntry(epoch, deadline, shards(), kek); err != nil {
			return drawn{}, err
		}
		d.public.Successor = successor
		k.drawn.Store(epoch, d)
	}
	if d.announced {
		return d, nil
	}
	if err := announce(d.public); err != nil {
		return drawn{}, err
	}
	d.announced = true
	k.drawn.Store(epoch, d)
	return d, nil
}

// opens reports whether kek unwraps one of the keys: writers would otherwise
// seal under a key that nobody can use.
func (c Contents) opens(epoch retention.Epoch, kek KEK) bool {
	publics, err := c.publics(epoch)
	if err != nil {
		return false
	}
	for _, public := range publics {
		unwrapped, err := public.unwrap(kek, c[partPrivate][public.ID.String()])
		clear(unwrapped)
		if err == nil {
			return true
		}
	}
	return false
}

// precede makes a key the newest, whatever the clocks of those said who minted the
// others: writers seal to the newest, and only this one can be opened.
func (c Contents) precede(key *Public) {
	publics, err := c.publics(key.Epoch)
	if err == nil && len(publics) > 0 && !key.Minted.After(publics[0].Minted) {
		key.Minted = publics[0].Minted.Add(time.Millisecond)
	}
}
