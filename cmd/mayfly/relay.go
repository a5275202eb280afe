package main

import (
	"context"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/process"
)

// RelayCmd is the role that seals before Kafka.
type RelayCmd struct{ config.Flags }

// Help is shown by mayfly relay --help.
func (RelayCmd) Help() string {
	return `Takes events over HTTP, and lines of a log from a socket, seals each to the public
key of its epoch and writes sealed batches to the first of kafka.topics. It holds
no key that opens what it wrote, and needs of the keyring the public keys alone;
while none is published, because no warden runs, it refuses events: it never
writes one in the clear. Run it on the machine that the events come from.

POST /v1/events takes one JSON event per line and answers 202 when Kafka has
acknowledged them, with what was refused and why; 503 says that they may have to
be sent again. Where all of a topic's producers seal, kafka.sealed has ingest
refuse what is not.

Examples:
  mayfly relay --config mayfly.yaml
  curl --data-binary @events.jsonl http://127.0.0.1:8081/v1/events
  MAYFLY_RELAY_SOCKET_LISTEN=tcp:127.0.0.1:5140 MAYFLY_RELAY_SOCKET_FORMAT=sshd \
    mayfly relay --config mayfly.yaml
  journalctl -fu ssh -o short-iso > /dev/tcp/127.0.0.1/5140

SIGTERM sends what was taken, then ends.`
}

// Run runs until ctx ends.
func (c *RelayCmd) Run(ctx context.Context) error {
	return process.RunRelay(ctx, c.Flags)
}
