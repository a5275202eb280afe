// Package demo is "mayfly demo": a whole installation on this machine with
// invented people, which shows and checks that addresses arrive, are found, and vanish.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/output"
	"mayfly/retention"
)

// Cmd is "mayfly demo": a whole installation in this process, with traffic.
type Cmd struct {
	Duration *time.Duration `placeholder:"DURATION" help:"How long traffic flows; 0: until Ctrl-C (0 on a terminal, else 2m)."`
	Window   time.Duration  `default:"60s" help:"How long an address is kept, whole seconds (${default})."`
	Epoch    time.Duration  `placeholder:"DURATION" help:"How much time shares one key, whole seconds (window/12)."`
	Rate     float64        `default:"200" help:"Events per second, the mean of a day of two minutes (${default})."`
	Listen   string         `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where the page and the API listen (${default}, or a free port where that one is taken)."`
	Seed     uint64         `default:"1" help:"Another seed, other people (${default})."`
	Sabotage string         `enum:",skip-purge,edit-log,fork-log,keep-backup" default:"" placeholder:"HOW" help:"Let the operator cheat, and see how that is caught: skip-purge, edit-log, fork-log or keep-backup."`
	output.Flag
}

// Help is shown by mayfly demo --help.
func (*Cmd) Help() string {
	return `A Kafka broker, three Redis (one for the data, two for the keys), every role of
Mayfly and invented people, all on this machine: watch addresses arrive, be found,
and vanish. Nothing is left when it ends.

At the end every epoch that came due is checked from outside: the keys are gone from
both keyring nodes, the data Redis holds nothing of it, and what was wrapped for it can't be
unwrapped. The exit code is 0 only if all of that holds, every event is
accounted for, and no look-up told anything but what was sent.

With --sabotage the operator cheats: keeps a key that is logged as destroyed, edits
the log, shows the auditor another log, or puts a backup of all Redis back. The demo
then ends with the line that catches it, and exits with 0 only if something did.

Examples:
  mayfly demo
  mayfly demo --window 10s --epoch 1s --duration 30s
  mayfly demo --duration 30s --window 10s --epoch 1s --output json
  mayfly demo --sabotage fork-log --duration 20s --window 10s --epoch 1s`
}

// Run runs the demo.
func (c *Cmd) Run(ctx context.Context) error { return c.run(ctx, os.Stdout, os.Stderr) }

func (c *Cmd) run(ctx context.Context, stdout, stderr io.Writer) error {
	policy, err := c.policy()
	if err != nil {
		return err
	}
	view := newView(c.JSON(), stdout, stderr)
	defer view.close()
	log, err := config.NewLogger(config.Log{Level: "warn", Format: "console"}, view)
	if err != nil {
		return err
	}
	view.say("starting a Kafka broker and three Redis on this machine")
	cheat := sabotages(c.Sabotage)
	stack, err := install(ctx, c.Listen, policy, log, cheat.options()...)
	if err != nil {
		return err
	}
	d := newDemo(policy, stack, view, cheat)
	result, problems := d.play(ctx, c.traffic(), c.duration(view.live()))
	view.close()
	if err := errors.Join(stack.close(), c.print(stdout, d, result, problems)); err != nil {
		return err
	}
	if len(problems) > 0 {
		return fmt.Errorf("the demo failed: %s", problems[0])
	}
	return nil
}

func (c *Cmd) print(stdout io.Writer, d *demo, result outcome, problems []string) error {
	if c.JSON() {
		return json.NewEncoder(stdout).Encode(result)
	}
	return d.printSummary(stdout, result, problems)
}

// The bounds of the demo's window: an event must live long enough to be looked
// up, and the list of epochs must stay one that people can watch.
const (
	minWindow    = 3 * time.Second
	maxWindow    = time.Hour
	mostEpochs   = 360
	maxRate      = 1_000_000
	epochs       = 12 // per window, where nobody says otherwise
	noTerminal   = 2 * time.Minute
	policyName   = "demo"
	listen       = "127.0.0.1:8080"
	policyLegals = "none is needed: these people are invented"
)

// policy is the demo's only policy.
func (c *Cmd) policy() (retention.Policy, error) {
	epoch := c.Epoch
	if epoch == 0 {
		epoch = max((c.Window / epochs).Round(time.Second), time.Second)
	}
	switch {
	case c.Window < minWindow || c.Window > maxWindow || c.Window%time.Second != 0:
		return retention.Policy{}, fmt.Errorf("--window must be whole seconds, from %s to %s", output.Duration(minWindow), output.Duration(maxWindow))
	case epoch < time.Second || epoch%time.Second != 0 || epoch > c.Window/2:
		return retention.Policy{}, errors.New("--epoch must be whole seconds, from 1s to half of --window")
	case c.Window/epoch > mostEpochs:
		return retention.Policy{}, fmt.Errorf("--epoch must be longer: a window of more than %d epochs is no demo", mostEpochs)
	case !(c.Rate > 0 && c.Rate <= maxRate): // not a number neither
		return retention.Policy{}, fmt.Errorf("--rate must be above 0 and at most %d events a second", maxRate)
	case c.Duration != nil && *c.Duration < 0:
		return retention.Policy{}, errors.New("--duration must not be negative")
	}
	p := retention.Policy{
		Name: policyName, Window: c.Window, Epoch: epoch, Basis: policyLegals,
		Keep: []string{"transport", "client"},
	}
	return p, p.Validate()
}

// duration is how long traffic flows; 0: until somebody ends it.
func (c *Cmd) duration(live bool) time.Duration {
	switch {
	case c.Duration != nil:
		return *c.Duration
	case live:
		return 0
	}
	return noTerminal
}
