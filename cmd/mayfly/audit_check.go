package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/client"
	"mayfly/cmd/mayfly/output"
	"mayfly/retention/canary/plant"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
)

// AuditCheckCmd is "mayfly audit check".
type AuditCheckCmd struct {
	Plan   string        `arg:"" type:"existingfile" help:"What mayfly audit plant has written."`
	Log    []string      `type:"existingdir" placeholder:"DIR" help:"Folders of receipt logs: the proof of what was purged."`
	Key    []string      `sep:"none" placeholder:"FILE|KEY" help:"Verifier key of a log."`
	Desk   string        `env:"MAYFLY_DESK_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The desk to ask (${default})."`
	Case   string        `placeholder:"NAME" help:"The ticket that these look-ups belong to; kept for good."`
	Reason string        `default:"test" placeholder:"REASON" help:"Of the look-ups' receipts (${default})."`
	Grace  time.Duration `default:"1s" help:"How long after its deadline a purge is in time."`
	Dump   []string      `sep:"none" type:"existingfile" placeholder:"FILE" help:"Search this file for what was planted, and ask no desk: a dump, an append-only file, a Kafka segment, a backup, a core. May be given again."`
	output.Flag
}

// Help gives examples.
func (*AuditCheckCmd) Help() string {
	return `Before the deadlines of the planted connections: each must be found. After them:
none may be found, the desk must say that the time is purged, and the logs must have
the commitment from before the deadlines and the end of each epoch, in time. Between,
it is too early to say anything. The windows are those that the logs tell, so give
--log and --key in any case.

With --dump, files are searched for every planted address and account, as text, with
escapes, in UTF-16, in hexadecimal and as bytes. What is compressed or sealed can't
be seen. The exit code is 1 where anything is wrong, or found in a file.

Examples:
  mayfly audit check plan --log receipts --key receipts.pub --case AUDIT-7
  mayfly audit check plan --dump /var/lib/redis/dump.rdb --dump /var/lib/redis/appendonly.aof.1.base.rdb`
}

// Run checks and prints.
func (cmd *AuditCheckCmd) Run(ctx context.Context) error { return cmd.run(ctx, os.Stdout) }

func (cmd *AuditCheckCmd) run(ctx context.Context, out io.Writer) error {
	plan, err := plant.Read(cmd.Plan)
	if err != nil {
		return err
	}
	if len(cmd.Dump) > 0 {
		return cmd.search(out, plan)
	}
	switch {
	case cmd.Case == "":
		return errors.New("--case: each look-up belongs to a ticket")
	case len(cmd.Log) == 0 || len(cmd.Key) == 0:
		return errors.New("--log, --key: give the receipt logs and their verifier keys: without them nothing proves a purge")
	}
	if cmd.Grace < 0 {
		return errGrace
	}
	if err := receipts.CheckCase(cmd.Case); err != nil {
		return fmt.Errorf("--case: %w", err)
	}
	keys, err := readKeys("--key", cmd.Key)
	if err != nil {
		return err
	}
	logs, err := audit.Verify(cmd.Log, audit.Options{Keys: keys, To: time.Now().UTC(), Grace: cmd.Grace})
	if err != nil {
		return err
	}
	c := newCheck(plan, logs, cmd.Grace)
	if err := cmd.look(ctx, c); err != nil {
		return err
	}
	c.judge()
	if cmd.JSON() {
		err = fprintJSON(out, c.result)
	} else {
		c.result.print(out)
	}
	if err == nil && len(c.result.Problems) > 0 {
		err = errors.New(c.result.Problems[0].String())
		if n := len(c.result.Problems) - 1; n > 0 {
			err = fmt.Errorf("%w (and %s more)", err, output.Plural(n, "problem"))
		}
	}
	return err
}

// mostAsked is how many events one batch asks for: each by address and by account.
const mostAsked = lookup.MaxSubjects / 2

// around is how far from its own time a planted event is looked for.
const around = 10 * time.Second

// look asks the desk for every event, by address and by account.
func (cmd *AuditCheckCmd) look(ctx context.Context, c *check) error {
	for events := range slices.Chunk(c.events, mostAsked) {
		var body bytes.Buffer
		lines := json.NewEncoder(&body)
		for _, e := range events {
			narrow := lookup.Request{
				From: e.Time.Add(-around).Format(time.RFC3339Nano), To: e.Time.Add(around).Format(time.RFC3339Nano), Policies: c.plan.Policies,
			}
			byIP, byAccount := narrow, narrow
			byIP.IP, byAccount.Account = e.IP, e.Account
			for _, request := range []lookup.Request{byIP, byAccount} {
				if err := lines.Encode(asLine(request)); err != nil {
					return fmt.Errorf("encoding a look-up: %w", err)
				}
			}
		}
		answers, err := client.Client{Base: cmd.Desk}.LookBatch(ctx, lookup.Batch{
			Case: cmd.Case, Reason: cmd.Reason, Format: lookup.JSONLines, Body: body.Bytes(),
		})
		if err != nil {
			return err
		}
		if len(answers.Results) != 2*len(events) {
			return errors.New("the desk has not answered every line")
		}
		c.result.Receipts = append(c.result.Receipts, answers.Receipt)
		for i, e := range events {
			e.answers = answers.Results[2*i : 2*i+2]
		}
	}
	c.asked = time.Now()
	return nil
}

// asLine is a request without the fields that a batch has once.
func asLine(r lookup.Request) map[string]any {
	line := map[string]any{"from": r.From, "to": r.To}
	if r.IP != "" {
		line["ip"] = r.IP
	} else {
		line["account"] = r.Account
	}
	if len(r.Policies) > 0 {
		line["policies"] = r.Policies
	}
	return line
}
