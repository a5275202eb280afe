package main

import (
	"context"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/process"
)

// RunCmd is every role in one process.
type RunCmd struct{ config.Flags }

// Help is shown by mayfly run --help.
func (RunCmd) Help() string {
	return `Examples:
  mayfly keygen /dev/shm/mayfly.kek
  mayfly run --config mayfly.yaml
  mayfly run --config mayfly.yaml --brokers kafka:9092 --redis redis:6379 \
    --keyring redis://key-a:6379,redis://key-b:6379

SIGTERM stores and commits what has been read, then ends.`
}

// Run runs until ctx ends.
func (c *RunCmd) Run(ctx context.Context) error {
	return process.Run(ctx, c.Flags, process.All)
}

// IngestCmd is the role that only writes.
type IngestCmd struct{ config.Flags }

// Help is shown by mayfly ingest --help.
func (IngestCmd) Help() string {
	return `Kafka → sealed frames in Redis. This role holds no key that opens what it
wrote, and needs no key-encryption key. Start as many as there are partitions.

Example:
  mayfly ingest --config mayfly.yaml`
}

// Run runs until ctx ends.
func (c *IngestCmd) Run(ctx context.Context) error {
	return process.Run(ctx, c.Flags, process.Roles{Ingest: true})
}

// WardenCmd is the role that enforces the deadlines.
type WardenCmd struct{ config.Flags }

// Help is shown by mayfly warden --help.
func (WardenCmd) Help() string {
	return `Mints each epoch's key when the epoch begins, destroys it at the deadline on
every keyring node, and verifies. Nothing can be stored while no warden runs.

Example:
  mayfly warden --config mayfly.yaml`
}

// Run runs until ctx ends.
func (c *WardenCmd) Run(ctx context.Context) error {
	return process.Run(ctx, c.Flags, process.Roles{Warden: true})
}

// DeskCmd is the role that answers look-ups.
type DeskCmd struct{ config.Flags }

// Help is shown by mayfly desk --help.
func (DeskCmd) Help() string {
	return `The API and the page for look-ups; each leaves a receipt.

Example:
  mayfly desk --config mayfly.yaml --listen 127.0.0.1:8080`
}

// Run runs until ctx ends.
func (c *DeskCmd) Run(ctx context.Context) error {
	return process.Run(ctx, c.Flags, process.Roles{Desk: true})
}
