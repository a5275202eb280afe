package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"mayfly/abuse"
	"mayfly/cmd/mayfly/client"
	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/output"
	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain"
	"mayfly/pipeline/produce"
	"mayfly/retention/address"
	"mayfly/retention/canary/form"
	"mayfly/retention/canary/plant"
	"mayfly/retention/record"
)

// AuditPlantCmd is "mayfly audit plant".
type AuditPlantCmd struct {
	config.Flags
	File          string        `arg:"" help:"Where to keep what was planted, for mayfly audit check. Nobody else should see it."`
	Range         []string      `required:"" placeholder:"PREFIX,…" help:"Networks that the addresses are drawn from, such as customers have."`
	AccountFormat string        `placeholder:"SHAPE" help:"How accounts look: # a digit, @ a letter, % a hexadecimal digit, as in user-########."`
	Accounts      string        `placeholder:"FILE" type:"existingfile" help:"Accounts to draw from instead, one a line: test accounts, say."`
	Count         int           `default:"20" help:"How many connections (${default})."`
	Over          time.Duration `default:"0s" help:"Spread them over this time, so that several epochs have some."`
	Seed          string        `placeholder:"TEXT" help:"Draw from this; the same seed draws the same connections (a random one)."`
	Policy        []string      `placeholder:"NAME" help:"Policies that will hold them (any)."`
	Desk          string        `env:"MAYFLY_DESK_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The desk whose log keeps the commitment (${default})."`
	Print         bool          `help:"Print the events as JSON lines instead of sending them to Kafka."`
}

// Help gives examples.
func (*AuditPlantCmd) Help() string {
	return `Draws connections that look like any others, has the desk write a salted hash of
them into its receipt log, and sends them to Kafka, or prints them for you to send
on your own ways. The operator can't tell which they are; you can prove later that
they were chosen before, and that they are gone: mayfly audit check.

Examples:
  mayfly audit plant plan --range 203.0.113.0/24,2001:db8:9::/48 --account-format 'user-########' --topic connections
  mayfly audit plant plan --range 203.0.113.0/24 --accounts test-accounts --count 200 --over 1h --topic connections
  mayfly audit plant plan --range 203.0.113.0/24 --account-format 'user-########' --print | kcat -P -b kafka -t connections`
}

// Run draws, commits, keeps the plan, and only then sends.
func (cmd *AuditPlantCmd) Run(ctx context.Context) error {
	return cmd.run(ctx, os.Stdout, os.Stderr)
}

func (cmd *AuditPlantCmd) run(ctx context.Context, out, told io.Writer) error {
	sections := []string{"kafka", "fields"}
	if cmd.Print {
		sections = []string{"fields"}
	}
	c, err := cmd.Load(sections...)
	if err != nil {
		return err
	}
	plan, err := cmd.draw()
	if err != nil {
		return err
	}
	lines, err := planLines(plan, c.Fields)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(cmd.File); err == nil {
		return fmt.Errorf("%s exists: a plan is kept until it was checked, so it is not replaced", cmd.File)
	}
	committed, err := client.Client{Base: cmd.Desk}.Commit(ctx, abuse.Commitment{Commitment: plan.Commitment, Count: int64(len(plan.Events))})
	if err != nil {
		return err
	}
	plan.Receipt, plan.Committed, plan.Policies = committed.Receipt, committed.Time.UTC(), cmd.Policy
	if err := plan.Write(cmd.File); err != nil {
		return err
	}
	if cmd.Print {
		_, err = out.Write(lines)
		return err
	}
	if err := cmd.send(ctx, c, lines, len(plan.Events)); err != nil {
		return err
	}
	fmt.Fprintf(told, "%s planted; the commitment is entry %s; keep %s for mayfly audit check\n",
		output.Plural(len(plan.Events), "connection"), plan.Receipt, cmd.File)
	return nil
}

func (cmd *AuditPlantCmd) draw() (*plant.Plan, error) {
	shape := cmd.AccountFormat
	var accounts []string
	switch {
	case (cmd.AccountFormat == "") == (cmd.Accounts == ""):
		return nil, errors.New("give one of --account-format and --accounts")
	case cmd.Over < 0 || cmd.Over > 24*time.Hour:
		return nil, errors.New("--over: must be between 0s and 24h")
	case cmd.Accounts != "":
		text, err := os.ReadFile(cmd.Accounts)
		if err != nil {
			return nil, fmt.Errorf("--accounts: %w", err)
		}
		accounts = slices.DeleteFunc(strings.Split(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), func(s string) bool { return s == "" })
		if len(accounts) == 0 || slices.ContainsFunc(accounts, func(s string) bool { return len(s) > event.MaxAccount }) {
			return nil, errors.New("--accounts: must have an account of at most 128 bytes on each line")
		}
		shape = "####" // not used
	}
	f, err := form.New(shape, cmd.Range)
	if err != nil {
		return nil, fmt.Errorf("--range, --account-format: %w", err)
	}
	seed := cmd.Seed
	if seed == "" {
		seed = rand.Text()
	}
	return plant.Draw(plant.Options{
		Seed: seed, Form: f, Accounts: accounts, Count: cmd.Count, Start: time.Now(), Over: cmd.Over,
	})
}

// planLines are the events in the shape that the topic has.
func planLines(plan *plant.Plan, fields event.FieldMap) ([]byte, error) {
	writer, err := event.NewWriter(fields)
	if err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	for _, e := range plan.Events {
		ip, err := address.Parse(e.IP)
		if err != nil {
			return nil, fmt.Errorf("writing a planted event: %w", err)
		}
		line, err := writer.Write(&event.Event{
			Time: e.Time.UnixMilli(), Account: e.Account, Address: ip,
			Ports: record.Ports{First: e.Port, Last: e.Port, Known: true}, Kind: event.DefaultKind, RTT: -1,
		})
		if err != nil {
			return nil, err
		}
		lines.Write(append(line, '\n'))
	}
	return lines.Bytes(), nil
}

// send sends the events as mayfly produce would, each at its time.
func (cmd *AuditPlantCmd) send(ctx context.Context, c config.Config, lines []byte, n int) error {
	security, err := kafkain.ClientOptions(c.Kafka)
	if err != nil {
		return err
	}
	speed := 0.0
	if cmd.Over > 0 {
		speed = 1
	}
	producer, err := produce.New(produce.Config{
		Brokers: c.Kafka.Brokers, Topic: c.Kafka.Topics[0], Format: produce.JSON, Fields: c.Fields, Speed: speed,
	}, produce.Dependencies{Options: security})
	if err != nil {
		return err
	}
	summary, err := producer.Run(ctx, bytes.NewReader(lines))
	if err == nil && summary.Produced != n {
		err = fmt.Errorf("%d of %d connections were sent", summary.Produced, n)
	}
	return err
}
