package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/client"
	"mayfly/cmd/mayfly/output"
	"mayfly/retention/receipts"
)

// LookupCmd is "mayfly lookup".
type LookupCmd struct {
	IP      LookupIPCmd      `cmd:"" name:"ip" help:"Who was behind an IP address."`
	Prefix  LookupPrefixCmd  `cmd:"" help:"Who was in a network."`
	Account LookupAccountCmd `cmd:"" help:"Which addresses an account had."`
	Batch   LookupBatchCmd   `cmd:"" help:"Look up as many as 1,000 subjects of one case, from CSV or JSON lines."`
}

const lookupHelp = `The exit code is 0 where the answer is sound, also when nothing was found or the
answer is ambiguous; 1 where there is no answer; 3 where the answer is incomplete:
something that was stored is missing, so finding nothing proves nothing.
Each look-up leaves a receipt at the desk: case, reason and counts, never the subject.
`

// LookupFlags are common to all look-ups.
type LookupFlags struct {
	Desk   string `env:"MAYFLY_DESK_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The desk to ask (${default})."`
	Case   string `required:"" placeholder:"NAME" help:"The ticket this belongs to; kept for good, so it must not hold an address or an account."`
	Reason string `required:"" placeholder:"REASON" help:"abuse-report, spam, fraud, account-takeover, attack, legal-order, safety or test."`
	output.Flag
}

// check keeps a case that holds an address from leaving this machine.
func (f LookupFlags) check() error {
	if err := receipts.CheckCase(f.Case); err != nil {
		return fmt.Errorf("--case: %w", err)
	}
	if err := receipts.CheckReason(f.Reason); err != nil {
		return fmt.Errorf("--reason: %w", err)
	}
	return nil
}

// NarrowFlags say which events of a subject are asked for.
type NarrowFlags struct {
	LookupFlags
	Port      *int     `placeholder:"N" help:"Source port: only events whose port, or block of ports, is known and contains it."`
	At        string   `placeholder:"TIME" help:"A moment, RFC 3339 with a zone: connections that were open then."`
	Tolerance string   `placeholder:"DURATION" help:"How far clocks may differ around --at, up to 24h (60s)."`
	From      string   `placeholder:"TIME" help:"Events at or after this time (all that is readable)."`
	To        string   `placeholder:"TIME" help:"Events at or before this time (now)."`
	Policy    []string `placeholder:"NAME" help:"Only events kept under these policies (all)."`
	Limit     int      `placeholder:"N" help:"Most events to answer, up to 100,000 (10,000)."`
}

func (f NarrowFlags) request() lookup.Request {
	return lookup.Request{
		Port: f.Port, At: f.At, Tolerance: f.Tolerance, From: f.From, To: f.To,
		Policies: f.Policy, Limit: f.Limit, Case: f.Case, Reason: f.Reason,
	}
}

// LookupIPCmd is "mayfly lookup ip".
type LookupIPCmd struct {
	NarrowFlags
	Subject string `arg:"" name:"ip" help:"The address; - reads it from standard input, so that no shell history keeps it."`
}

// Help gives examples.
func (*LookupIPCmd) Help() string {
	return lookupHelp + `An IPv6 /64 counts as one address.

Examples:
  mayfly lookup ip - --case ABUSE-17 --reason spam
  mayfly lookup ip 203.0.113.7 --at 2026-11-07T10:00:00Z --port 40123 --case ABUSE-17 --reason abuse-report
  mayfly lookup ip 2001:db8::7 --from 2026-11-07T09:00:00+01:00 --case ABUSE-17 --reason attack --output json`
}

// Run asks the desk.
func (cmd *LookupIPCmd) Run(ctx context.Context) error {
	return cmd.ask(ctx, os.Stdin, os.Stdout, "IP address", cmd.Subject, func(r *lookup.Request, subject string) { r.IP = subject })
}

// LookupPrefixCmd is "mayfly lookup prefix".
type LookupPrefixCmd struct {
	NarrowFlags
	Subject string `arg:"" name:"prefix" help:"IPv4 /16 to /32 or IPv6 /32 to /128; - reads it from standard input."`
}

// Help gives examples.
func (*LookupPrefixCmd) Help() string {
	return lookupHelp + `
Examples:
  mayfly lookup prefix 203.0.113.0/24 --case ABUSE-17 --reason attack
  echo 2001:db8:7::/48 | mayfly lookup prefix - --case ABUSE-17 --reason attack --limit 100`
}

// Run asks the desk.
func (cmd *LookupPrefixCmd) Run(ctx context.Context) error {
	return cmd.ask(ctx, os.Stdin, os.Stdout, "prefix", cmd.Subject, func(r *lookup.Request, subject string) { r.Prefix = subject })
}

// LookupAccountCmd is "mayfly lookup account".
type LookupAccountCmd struct {
	NarrowFlags
	Subject string `arg:"" name:"account" help:"The account, exactly as events name it; - reads it from standard input."`
}

// Help gives examples.
func (*LookupAccountCmd) Help() string {
	return lookupHelp + `
Examples:
  mayfly lookup account - --case TAKEOVER-3 --reason account-takeover
  mayfly lookup account ada --from 2026-11-07T00:00:00Z --case TAKEOVER-3 --reason account-takeover`
}

// Run asks the desk.
func (cmd *LookupAccountCmd) Run(ctx context.Context) error {
	return cmd.ask(ctx, os.Stdin, os.Stdout, "account", cmd.Subject, func(r *lookup.Request, subject string) { r.Account = subject })
}

// LookupBatchCmd is "mayfly lookup batch".
type LookupBatchCmd struct {
	LookupFlags
	Format string `enum:"auto,csv,jsonl" default:"auto" help:"csv, jsonl, or auto: by the file's name, else by its first byte."`
	File   string `arg:"" name:"file" help:"The file, or - for standard input."`
}

// Help gives examples.
func (*LookupBatchCmd) Help() string {
	return lookupHelp + `The first line of CSV names the columns; JSON lines use the same names: ip, prefix,
account, port, at, tolerance, from, to, limit. A line that makes no sense is reported,
and the others are answered.

Examples:
  mayfly lookup batch report.csv --case ABUSE-17 --reason abuse-report
  printf 'ip,port,at\n203.0.113.7,40123,2026-11-07T10:00:00Z\n' | mayfly lookup batch - --case ABUSE-17 --reason spam`
}

// Run asks the desk.
func (cmd *LookupBatchCmd) Run(ctx context.Context) error {
	return cmd.ask(ctx, os.Stdin, os.Stdout)
}

// errIncomplete has an exit code of its own: a script must not take a gap for
// innocence.
type errIncomplete struct{}

func (errIncomplete) Error() string {
	return "the answer is incomplete: something that was stored is missing, so what is not listed may still have happened"
}

// ExitCode is 3.
func (errIncomplete) ExitCode() int { return 3 }

func (f *NarrowFlags) ask(ctx context.Context, in io.Reader, out io.Writer, kind, subject string, set func(*lookup.Request, string)) error {
	if err := f.check(); err != nil {
		return err
	}
	var err error
	if subject == "-" {
		if subject, err = readSubject(in, kind); err != nil {
			return err
		}
	}
	request := f.request()
	set(&request, subject)
	result, err := client.Client{Base: f.Desk}.Look(ctx, request)
	if err != nil {
		return err
	}
	if f.JSON() {
		err = fprintJSON(out, result)
	} else {
		err = printResult(out, result)
	}
	if err == nil && !result.Complete {
		err = errIncomplete{}
	}
	return err
}

// readSubject reads the one line that names the subject.
func readSubject(in io.Reader, kind string) (string, error) {
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(os.Stderr, "%s: ", kind)
		line, err := bufio.NewReader(f).ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("reading the %s: %w", kind, err)
		}
		return trimSubject(line, kind), nil
	}
	text, err := io.ReadAll(io.LimitReader(in, 4<<10))
	if err != nil {
		return "", fmt.Errorf("reading the %s: %w", kind, err)
	}
	subject := trimSubject(string(text), kind)
	if subject == "" || strings.Contains(subject, "\n") {
		return "", fmt.Errorf("standard input must be one line with the %s (for several: mayfly lookup batch)", kind)
	}
	return subject, nil
}

// trimSubject takes off the end of the line, and around an address also white
// space, which in an account may be part of the name.
func trimSubject(line, kind string) string {
	if kind == "account" {
		return strings.TrimRight(line, "\r\n")
	}
	return strings.TrimSpace(line)
}

func (cmd *LookupBatchCmd) ask(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := cmd.check(); err != nil {
		return err
	}
	body, err := cmd.read(in)
	if err != nil {
		return err
	}
	if len(body) > lookup.MaxBatchBytes {
		return fmt.Errorf("a batch has at most %d bytes: split it", lookup.MaxBatchBytes)
	}
	result, err := client.Client{Base: cmd.Desk}.LookBatch(ctx, lookup.Batch{
		Case: cmd.Case, Reason: cmd.Reason, Format: cmd.format(body), Body: body,
	})
	if err != nil {
		return err
	}
	if cmd.JSON() {
		err = fprintJSON(out, result)
	} else {
		err = printBatch(out, result)
	}
	switch {
	case err != nil:
		return err
	case !result.Complete:
		return errIncomplete{}
	case result.Failed > 0:
		return errors.New(output.Plural(result.Failed, "line") + " could not be answered: mend and send these alone")
	}
	return nil
}

func (cmd *LookupBatchCmd) read(in io.Reader) ([]byte, error) {
	if cmd.File != "-" {
		f, err := os.Open(cmd.File)
		if err != nil {
			return nil, fmt.Errorf("reading the batch: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, lookup.MaxBatchBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the batch: %w", err)
	}
	return body, nil
}

func (cmd *LookupBatchCmd) format(body []byte) lookup.Format {
	switch extension := filepath.Ext(cmd.File); {
	case cmd.Format != "auto":
		return lookup.Format(cmd.Format)
	case extension == ".csv":
		return lookup.CSV
	case extension == ".jsonl", extension == ".ndjson", bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")):
		return lookup.JSONLines
	}
	return lookup.CSV
}
