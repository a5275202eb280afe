// Residue is a process that mints, seals and opens, and outlives the deadline
// of what it handled: what is then left in its memory is for a test to look at.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn"
	"mayfly/retention/store"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kekFile, node string) error {
	client, err := redisconn.OpenNode(node)
	if err != nil {
		return err
	}
	ring, err := keyring.New(keyring.NewRedisNode("node", client))
	if err != nil {
		return err
	}
	kek, err := keyring.OpenKEK(kekFile, time.Now())
	if err != nil {
		return err
	}
	policy := retention.Policy{Name: "residue", Window: 8 * time.Second, Epoch: 200 * time.Millisecond}
	epochs := policy.Live(time.Now())
	memory := store.NewMemory()
	opener, writer := keyring.NewOpener(ring, kek, zap.NewNop()), store.NewWriter(ring, memory)
	reader := store.NewReader(retention.Policies{policy}, opener, memory)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _ = opener.Run(running) }()

	batches, err := mint(ctx, ring, kek, memory, policy, epochs[len(epochs)-10:])
	if err != nil {
		return err
	}
	sealed, err := writer.Seal(ctx, batches)
	if err != nil {
		return err
	}
	if err := writer.Append(ctx, sealed); err != nil {
		return err
	}
	answer, err := reader.Find(ctx, store.Query{Account: "user"})
	if err != nil || len(answer.Records) != len(batches) {
		return errors.Join(err, fmt.Errorf("%d records of %d found", len(answer.Records), len(batches)))
	}
	return outlive(ctx, batches, writer)
}

// mint gives each epoch a key and makes an event of it.
func mint(ctx context.Context, ring *keyring.Keyring, kek keyring.KEK, memory *store.Memory, policy retention.Policy,
	epochs []retention.Epoch,
) ([]store.Batch, error) {
	var batches []store.Batch
	for i, epoch := range epochs {
		deadline := epoch.Deadline(policy.Window)
		_, err := ring.Mint(ctx, epoch, deadline, kek, func() uint32 { return 2 },
			func(key keyring.Public) error { return memory.Open(ctx, key) })
		if err != nil {
			return nil, err
		}
		ip, err := address.From(netip.MustParseAddr("192.0.2.1"))
		if err != nil {
			return nil, err
		}
		batches = append(batches, store.Batch{Epoch: epoch, Deadline: deadline, Records: []record.Record{{
			ID: record.ID{Offset: int64(i)}, Time: epoch.Start, Address: ip, Account: "user", Event: "connect",
		}}})
	}
	return batches, nil
}

// outlive says "alive" while the keys are in use, and "over" once every deadline
// has passed. Each line on standard input is an answer to one.
func outlive(ctx context.Context, batches []store.Batch, writer *store.Writer) error {
	answers := bufio.NewScanner(os.Stdin)
	fmt.Println("alive")
	answers.Scan()
	time.Sleep(time.Until(batches[len(batches)-1].Deadline.Add(2 * time.Second)))
	if _, err := writer.Seal(ctx, nil); err != nil { // as ingest does once per linger, events or none
		return err
	}
	fmt.Println("over")
	answers.Scan()
	return nil
}
