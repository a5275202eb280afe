package store

import (
	"slices"
)

// Narrow leaves a compactor so little memory that it needs many parts, runs and reads.
func (c *Compactor) Narrow() { c.room = room{rows: 20, pairs: 8, frames: 2, held: 100} }

// Slow has a compactor read few frames at a time.
func (c *Compactor) Slow() { c.room.frames = 2 }

// Lingers names the memory of a compactor in which something is left.
func (c *Compactor) Lingers() (where []string) {
	accounts, addresses := c.columns.Accounts.Values(), c.columns.Addresses
	for name, empty := range map[string]bool{
		"payload":   zero(c.payload[:cap(c.payload)]),
		"opened":    zero(c.opened[:cap(c.opened)]),
		"records":   zero(c.records[:cap(c.records)]),
		"pairs":     zero(c.pairs[:cap(c.pairs)]),
		"recent":    zero(c.recent[:]),
		"accounts":  zero(accounts[:cap(accounts)]),
		"addresses": zero(addresses[:cap(addresses)]),
	} {
		if !empty {
			where = append(where, name)
		}
	}
	return where
}

func zero[T comparable](of []T) bool {
	var nothing T
	return !slices.ContainsFunc(of, func(v T) bool { return v != nothing })
}
