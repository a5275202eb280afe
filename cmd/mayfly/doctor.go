package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sync/errgroup"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/output"
	"mayfly/cmd/mayfly/process"
	"mayfly/retention/keyring"
	"mayfly/retention/secret"
	"mayfly/retention/warden"
)

// DoctorCmd is "mayfly doctor".
type DoctorCmd struct {
	config.Flags
	output.Flag
	Emit           bool   `help:"Print Strimzi manifests (KafkaTopic, KafkaUser) under which the topics pass, instead of the findings."`
	StrimziCluster string `default:"my-cluster" placeholder:"NAME" help:"The Kafka resource that the manifests belong to."`
}

// Help is shown by mayfly doctor --help.
func (DoctorCmd) Help() string {
	return `Looks at the keyring, Redis, the key-encryption key's file and the Kafka topics,
and says for each condition of the guarantee whether it holds and how to mend it.
It only reads, and needs no more than INFO, TIME and CONFIG GET on Redis, Describe
and DescribeConfigs on Kafka, and Read on topics with kafka.sealed, whose newest
records it looks at: safe on a cluster in use. What a server refuses to tell is
"unattested", never "pass".

The exit code is 0 where everything passes or is a warning, 1 where something
fails, 3 where nothing fails but something is unattested.

Examples:
  mayfly doctor --config mayfly.yaml
  mayfly doctor --config mayfly.yaml --output json
  mayfly doctor --config mayfly.yaml --emit --strimzi-cluster kafka > topics.yaml`
}

// Run looks once.
func (c *DoctorCmd) Run(ctx context.Context) error {
	config, err := c.Load("kafka", "redis", "keyring", "policies", "ingest")
	if err != nil {
		return err
	}
	x, err := process.NewExaminer(config)
	if err != nil {
		return err
	}
	defer x.Close()
	if c.Emit {
		return c.emit(ctx, os.Stdout, x)
	}
	_ = secret.Harden() // as the roles do: whether it worked is a finding
	d := diagnose(ctx, x)
	if ctx.Err() != nil {
		return errors.New("interrupted before everything was looked at")
	}
	if c.JSON() {
		err = output.JSON(d)
	} else {
		err = d.print(os.Stdout)
	}
	if err != nil {
		return err
	}
	return d.verdict()
}

// emit prints the manifests, a YAML document each.
func (c *DoctorCmd) emit(ctx context.Context, out io.Writer, x *process.Examiner) error {
	facts, answers := x.Facts(ctx)
	if answers.Verdict != keyring.Pass {
		return fmt.Errorf("%s: %s", answers.Saw, answers.Mend)
	}
	for _, manifest := range warden.Emit(facts, x.Expectations(), c.StrimziCluster) {
		text, err := yaml.Dump(manifest)
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		if _, err := fmt.Fprintf(out, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

// diagnosis is all that one look has found.
type diagnosis struct {
	Assurance warden.Assurance        `json:"assurance"`
	Counts    map[keyring.Verdict]int `json:"counts"`
	Findings  []keyring.Finding       `json:"findings"`
}

func diagnose(ctx context.Context, x *process.Examiner) diagnosis {
	var servers, topics warden.Observation
	var g errgroup.Group
	g.Go(func() error {
		servers = x.Servers(ctx)
		return nil
	})
	g.Go(func() error {
		topics = x.Topics(ctx)
		return nil
	})
	_ = g.Wait()
	d := diagnosis{Counts: map[keyring.Verdict]int{}, Findings: append(servers.Findings, topics.Findings...)}
	d.Assurance = warden.Assess(warden.Evidence{Findings: d.Findings, KafkaCovered: topics.Covered})
	for _, verdict := range []keyring.Verdict{keyring.Pass, keyring.Warn, keyring.Fail, keyring.Unattested} {
		d.Counts[verdict] = 0
	}
	for _, f := range d.Findings {
		d.Counts[f.Verdict]++
	}
	return d
}

// print writes a row for each condition, with what to do under each that does not pass.
func (d diagnosis) print(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERDICT\tWHERE\tCONDITION\tSEEN")
	for _, f := range d.Findings {
		where := string(f.Area) + " " + f.Subject
		if f.Subject == string(f.Area) {
			where = f.Subject
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.Verdict, output.Printable(where), f.Condition, output.Printable(f.Saw))
		if f.Mend != "" {
			fmt.Fprintf(table, "\t\t\t→ %s\n", output.Printable(f.Mend))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d pass, %d warn, %d fail, %d unattested\n",
		d.Counts[keyring.Pass], d.Counts[keyring.Warn], d.Counts[keyring.Fail], d.Counts[keyring.Unattested])
	_, err := fmt.Fprintf(out, "assurance level %d: %s\n", d.Assurance.Level, d.Assurance.Meaning)
	for _, missing := range d.Assurance.Missing {
		fmt.Fprintf(out, "  short of the next: %s\n", output.Printable(missing))
	}
	return err
}

// doctorFinding chooses the exit code.
type doctorFinding struct {
	code    int
	message string
}

func (f *doctorFinding) Error() string { return f.message }

// ExitCode implements kong.ExitCoder.
func (f *doctorFinding) ExitCode() int { return f.code }

func (d diagnosis) verdict() error {
	switch fails, unattested := d.Counts[keyring.Fail], d.Counts[keyring.Unattested]; {
	case fails > 0:
		return &doctorFinding{1, output.Plural(fails, "condition") + " of the guarantee not met: mend them as said above"}
	case unattested > 0:
		return &doctorFinding{3, output.Plural(unattested, "condition") + " of the guarantee not attested: see above for what to allow"}
	}
	return nil
}
