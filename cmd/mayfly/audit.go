package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"mayfly/cmd/mayfly/output"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/audit"
)

// AuditCmd is "mayfly audit".
type AuditCmd struct {
	Verify AuditVerifyCmd `cmd:"" help:"Check receipt logs offline: nothing changed, nothing missing, nothing late."`
	Report AuditReportCmd `cmd:"" help:"A readable report over checked receipt logs."`
	Roster AuditRosterCmd `cmd:"" help:"Sign a list of the logs that there are, so that none can be left out."`
	Plant  AuditPlantCmd  `cmd:"" help:"Send connections of your own that nobody can tell from others."`
	Check  AuditCheckCmd  `cmd:"" help:"Check that planted connections are found in time, and then gone; or search files for them."`
}

// auditFlags are what an auditor brings.
type auditFlags struct {
	Logs       []string      `arg:"" type:"existingdir" help:"Folders of receipt logs."`
	Key        []string      `required:"" sep:"none" placeholder:"FILE|KEY" help:"Verifier key of a log (its receipts.pub), or of who signed the roster."`
	Roster     string        `placeholder:"FILE" help:"Signed list of the logs; each must be given."`
	Checkpoint []string      `sep:"none" placeholder:"FILE" help:"An older checkpoint, which the log must continue."`
	Witness    []string      `sep:"none" placeholder:"FILE|KEY" help:"Verifier key of a C2SP witness."`
	Quorum     int           `placeholder:"N" help:"How many of the witnesses must have cosigned each log (all)."`
	From       string        `placeholder:"TIME" help:"Judge deadlines from here on, RFC 3339 (the beginning)."`
	To         string        `placeholder:"TIME" help:"Judge deadlines up to here, RFC 3339 (now)."`
	Grace      time.Duration `default:"1s" help:"How long after its deadline a purge is in time."`
}

// verify reads what the flags name and checks the logs.
func (f *auditFlags) verify() (*audit.Result, error) {
	o := audit.Options{Quorum: f.Quorum, Grace: f.Grace, To: time.Now().UTC()}
	var err error
	if o.Keys, err = readKeys("--key", f.Key); err != nil {
		return nil, err
	}
	if o.Witnesses, err = readKeys("--witness", f.Witness); err != nil {
		return nil, err
	}
	if f.Roster != "" {
		if o.Roster, err = os.ReadFile(f.Roster); err != nil {
			return nil, fmt.Errorf("--roster: %w", err)
		}
	}
	for _, name := range f.Checkpoint {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--checkpoint: %w", err)
		}
		o.Checkpoints = append(o.Checkpoints, text)
	}
	if o.From, err = readTime("--from", f.From, o.From); err != nil {
		return nil, err
	}
	if o.To, err = readTime("--to", f.To, o.To); err != nil {
		return nil, err
	}
	switch {
	case o.From.After(o.To):
		return nil, errors.New("--from: is after --to, so no deadline would be judged")
	case o.Grace < 0:
		return nil, errGrace
	}
	return audit.Verify(f.Logs, o)
}

var errGrace = errors.New("--grace: must not be negative")

func readTime(flag, text string, otherwise time.Time) (time.Time, error) {
	if text == "" {
		return otherwise, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return otherwise, fmt.Errorf("%s: not a time such as 2026-11-07T12:00:00Z", flag)
	}
	return t, nil
}

// readKeys takes keys as they are, and reads files of keys, one a line.
func readKeys(flag string, values []string) ([]string, error) {
	var keys []string
	for _, value := range values {
		if strings.Count(value, "+") >= 2 && !strings.HasPrefix(value, "PRIVATE+") {
			keys = append(keys, value)
			continue
		}
		text, err := os.ReadFile(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		if strings.Contains(string(text), "PRIVATE+KEY+") {
			return nil, fmt.Errorf("%s: %s is a signing key, which never leaves its host: give the .pub file", flag, value)
		}
		keys = append(keys, strings.Fields(string(text))...)
	}
	return keys, nil
}

// AuditVerifyCmd is "mayfly audit verify".
type AuditVerifyCmd struct {
	auditFlags `embed:""`
	output.Flag
}

// Help gives examples.
func (*AuditVerifyCmd) Help() string {
	return `Needs the logs' folders and the verifier keys, and no network. Checks signatures,
every entry against the signed tree, that the log continues older checkpoints, and
that every epoch of every policy has exactly one end, in time: purged, or never
minted. Several logs are checked together: what one warden announced, another may
have purged. Keys are worth something only from a place that the operator of the
logs can't change. Of a log that is being written to, copy the files witnessed and
checkpoint first, in this order, and the tiles after them. The exit code is 1 where anything is wrong.

Receipts make lying detectable; they don't prove deletion.

Examples:
  mayfly audit verify receipts --key receipts.pub
  mayfly audit verify receipts receipts/warden --key desk.pub --key warden.pub --checkpoint kept
  mayfly audit verify receipts --key receipts.pub --witness w1.pub --witness w2.pub --quorum 1
  mayfly audit verify receipts --roster roster --key roster.key.pub --from 2026-11-01T00:00:00Z`
}

// Run checks and prints.
func (cmd *AuditVerifyCmd) Run() error {
	r, err := cmd.verify()
	if err != nil {
		return err
	}
	if cmd.JSON() {
		err = output.JSON(r)
	} else {
		printAudit(os.Stdout, r)
	}
	if err != nil {
		return err
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("the logs are whole, but: %w", err)
	}
	return nil
}

// mostFindings bounds what is printed; JSON has everything.
const mostFindings = 50

// mostGaps bounds those of a topic.
const mostGaps = 20

func printAudit(w io.Writer, r *audit.Result) {
	for _, l := range r.Logs {
		fmt.Fprintf(w, "log %s: %d entries, whole and signed", l.Origin, l.Size)
		if n := len(l.Consistent); n > 0 {
			fmt.Fprintf(w, "; continues %s", output.Plural(n, "older checkpoint"))
		}
		if len(l.Witnesses) == 0 {
			fmt.Fprintln(w, "; self-attested")
			continue
		}
		fmt.Fprintf(w, "; the first %d entries cosigned by %s\n", l.WitnessedSize, witnesses(len(l.Witnesses)))
	}
	for _, p := range r.Policies {
		fmt.Fprintf(w, "policy %s: window %v, epochs of %v: %d came due, %d purged, %d never minted, %d missing, %d late",
			p.Name, p.Window, p.Length, p.Epochs, p.Purged, p.NeverMinted, p.Missing, p.Late)
		if p.Lag.Count > 0 {
			fmt.Fprintf(w, "; lag %v median, %v p99, %v worst", p.Lag.Median, p.Lag.P99, p.Lag.Worst)
		}
		fmt.Fprintln(w)
		printHeld(w, &p)
	}
	for i := range r.Topics {
		printTopic(w, &r.Topics[i])
	}
	if c := r.Canaries; c != (audit.CanaryResult{}) {
		fmt.Fprintf(w, "canaries: %d gone at their deadline, %d not, %d could not be tried everywhere; %d were never found\n", c.Passed, c.Failed, c.Unanswered, c.Lost)
	}
	fmt.Fprintf(w, "assurance level %s\n", r.Assurance)
	for i, f := range r.Findings {
		if i == mostFindings {
			fmt.Fprintf(w, "… and %d more: --output json has them all\n", len(r.Findings)-i)
			break
		}
		fmt.Fprintln(w, f)
	}
}

func witnesses(n int) string {
	if n == 1 {
		return "1 witness"
	}
	return fmt.Sprintf("%d witnesses", n)
}

// printHeld says what the purged epochs of a policy had held.
func printHeld(w io.Writer, p *audit.PolicyResult) {
	if p.Purged == 0 {
		return
	}
	fmt.Fprintf(w, "policy %s: its purged epochs had held %s; %s rejected, %s too late",
		p.Name, output.Plural(int(p.Stored), "event"), output.Plural(int(p.Rejected), "message"), output.Plural(int(p.Expired), "event"))
	if p.Uncounted > 0 {
		fmt.Fprintf(w, "; not counted: %s", output.Plural(int(p.Uncounted), "epoch"))
	}
	if p.Partial > 0 {
		fmt.Fprintf(w, "; may have held more: %s", output.Plural(int(p.Partial), "epoch"))
	}
	fmt.Fprintln(w)
}

// printTopic says which offsets the purged epochs had, gap by gap.
func printTopic(w io.Writer, t *audit.TopicResult) {
	fmt.Fprintf(w, "topic %s: %s of purged epochs, ", t.Title(), output.Plural(len(t.Partitions), "partition"))
	missing := t.Missing()
	if missing == 0 {
		fmt.Fprintln(w, "offsets without a gap")
		return
	}
	fmt.Fprintf(w, "%s in between belong to none:\n", output.Plural(int(missing), "offset"))
	printed := 0
	for _, p := range t.Partitions {
		for _, gap := range p.Gaps {
			if printed == mostGaps {
				fmt.Fprintln(w, "… and more: --output json has them all")
				return
			}
			fmt.Fprintf(w, "  partition %d: %v\n", p.Partition, gap)
			printed++
		}
	}
}

// AuditReportCmd is "mayfly audit report".
type AuditReportCmd struct {
	auditFlags `embed:""`
	Format     string `enum:"html,json" default:"html" help:"html or json."`
}

// Help gives examples.
func (*AuditReportCmd) Help() string {
	return `Checks the logs as mayfly audit verify does, and prints what they say: windows,
epochs, how late purges were, exceptions, canaries, look-ups. The page loads nothing from
elsewhere. Logs that can't be trusted give no report.

Example:
  mayfly audit report receipts --key receipts.pub --from 2026-11-01T00:00:00Z > november.html`
}

// Run prints the report; exceptions are its content, not a failure.
func (cmd *AuditReportCmd) Run() error {
	r, err := cmd.verify()
	if err != nil {
		return err
	}
	if cmd.Format == "json" {
		return output.JSON(r)
	}
	return audit.WriteHTML(os.Stdout, r, time.Now())
}

// AuditRosterCmd is "mayfly audit roster".
type AuditRosterCmd struct {
	Keys []string `arg:"" help:"Verifier keys of the logs, or files of them (receipts.pub)."`
	Sign string   `required:"" placeholder:"FILE" help:"Signing key of the roster, made where missing; FILE.pub is its verifier key."`
}

// Help gives examples.
func (*AuditRosterCmd) Help() string {
	return `Prints the signed roster. Give it to auditors with the .pub file of its key; sign it
anew when a process gets a log of its own.

Example:
  mayfly audit roster receipts/receipts.pub receipts/warden/receipts.pub --sign roster.key > roster`
}

// Run signs and prints.
func (cmd *AuditRosterCmd) Run() error {
	keys, err := readKeys("<keys>", cmd.Keys)
	if err != nil {
		return err
	}
	owner, err := receipts.OpenIdentity(cmd.Sign, "roster")
	if err != nil {
		return err
	}
	signed, err := audit.SignRoster(owner.Signer, keys)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(signed)
	return err
}
