package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mayfly/cmd/mayfly/process"
	"mayfly/retention/keyring"
)

// sabotage is one way in which the operator of an installation cheats. Each is
// done to the real thing: what it meets is what an operator would meet.
type sabotage struct {
	does string // what the operator does, for people to read
	// node is run instead of an honest keyring node.
	node func(keyring.Node) keyring.Node
	// during is done while traffic flows, as soon as epochs come due.
	during func(context.Context, *demo) error
	// after is done once the roles have ended; the servers still run.
	after func(context.Context, *demo) error
	// harmless says why what was done is of no use, where nothing has to be caught.
	harmless func(context.Context, *demo) (string, error)
}

// sabotages by name: none is the honest operator.
func sabotages(name string) *sabotage {
	switch name {
	case "skip-purge":
		return skipPurge()
	case "edit-log":
		return editLog()
	case "fork-log":
		return forkLog()
	case "keep-backup":
		return keepBackup()
	}
	return &sabotage{}
}

// options are how the cheating operator's roles are wired.
func (s *sabotage) options() []process.Option {
	if s.node == nil {
		return nil
	}
	return []process.Option{process.WithNodes(s.node)}
}

// begin starts what is done while traffic flows. What it gives waits for it.
func (s *sabotage) begin(ctx context.Context, d *demo) (wait func() error) {
	if s.does != "" {
		d.view.tell(time.Now(), "the operator cheats: "+s.does)
	}
	if s.during == nil {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() { done <- s.during(ctx, d) }()
	return func() error { return <-done }
}

// catch does the rest of the sabotage and gives the one line that catches it.
// seen is what the demo's own checks found.
func (d *demo) catch(ctx context.Context, seen []string) (string, error) {
	if d.sabotage.after != nil {
		if err := d.sabotage.after(ctx, d); err != nil {
			return "", fmt.Errorf("cheating: %w", err)
		}
	}
	switch {
	case len(seen) > 0:
		return "caught: " + seen[0], nil
	case d.sabotage.harmless != nil:
		return d.sabotage.harmless(ctx, d)
	}
	err := d.auditor.verify(d.stack.receipts, d.ended)
	if err == nil || errors.Is(err, errNoCheckpoint) {
		return "", errors.Join(errors.New("the sabotage was not caught"), err)
	}
	return "caught: " + err.Error(), nil
}
