package main

import (
	"context"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/process"
)

// CompactCmd is the role that makes past epochs small.
type CompactCmd struct{ config.Flags }

// Help is shown by mayfly compact --help.
func (CompactCmd) Help() string {
	return `Hot frames of epochs that are over → sorted, sealed blocks with the same
deadline, a third of the size. Look-ups give the same answers before, during and
after. This role opens what it moves: it holds keys of living epochs, as a desk
does, and needs the key-encryption key. Start several to share the work; each
takes at most 256 MB.

What it needs of the data Redis and of the keyring, as access lists:
  ~mayfly:{* -@all +hello +ping +time +cluster|slots +hgetall +lrange +hget
    +hkeys +hexists +hset +hdel +lrem +pexpireat +eval
  %R~mayfly:key:* -@all +hello +ping +time +hgetall +get +pttl +scan

Example:
  mayfly compact --config mayfly.yaml`
}

// Run runs until ctx ends.
func (c *CompactCmd) Run(ctx context.Context) error {
	return process.Run(ctx, c.Flags, process.Roles{Compact: true})
}
