package main

import (
	"context"
	"errors"
	"fmt"

	"mayfly/cmd/mayfly/demo"

	"github.com/alecthomas/kong"
)

// commands is the command line. A command is a struct whose Run takes a
// context that ends at SIGINT or SIGTERM.
type commands struct {
	Demo    demo.Cmd   `cmd:"" help:"Everything in one process, with invented traffic: watch addresses arrive, be found, vanish."`
	Run     RunCmd     `cmd:"" help:"Ingest, compactor, warden and desk in one process, against your Kafka and Redis."`
	Ingest  IngestCmd  `cmd:"" help:"Kafka into sealed stores: the role that only writes."`
	Compact CompactCmd `cmd:"" help:"Sealed frames of past epochs into a third of the memory."`
	Warden  WardenCmd  `cmd:"" help:"Enforce the deadlines: mint and destroy epoch keys."`
	Desk    DeskCmd    `cmd:"" help:"The API and page for look-ups."`
	Produce ProduceCmd `cmd:"" help:"Lines of a log into Kafka as connection events."`
	Relay   RelayCmd   `cmd:"" help:"Seal events before Kafka: the topic never holds an address."`
	Lookup  LookupCmd  `cmd:"" help:"Ask the desk who connected."`
	Doctor  DoctorCmd  `cmd:"" help:"Check Redis, keyring, Kafka and clocks against the guarantee; changes nothing."`
	Keygen  KeygenCmd  `cmd:"" help:"Make a key-encryption key."`
	Config  ConfigCmd  `cmd:"" help:"Print the effective configuration, every setting, or an example."`
	Plan    PlanCmd    `cmd:"" help:"What a service of so many events a second needs, from what was measured."`
	Policy  PolicyCmd  `cmd:"" help:"Try the retention policies."`
	Audit   AuditCmd   `cmd:"" help:"Check what the receipt logs say."`
	Version VersionCmd `cmd:"" help:"Print what this binary was built from."`
}

// options are how the command line is parsed.
func options(ctx context.Context) []kong.Option {
	return []kong.Option{
		kong.Name("mayfly"),
		kong.Description("A short-retention IP log: connection events flow from Kafka into sealed stores that provably expire."),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	}
}

// execute runs one command line: 0 is success, 1 a failure, 2 a command line
// that makes no sense; an error with an ExitCode chooses its own.
func execute(ctx context.Context, args []string) (int, error) {
	parser := kong.Must(new(commands), options(ctx)...)
	command, err := parser.Parse(args)
	if err != nil {
		return 2, fmt.Errorf("%w (%s --help)", err, meant(err))
	}
	err = command.Run()
	var chosen kong.ExitCoder
	if errors.As(err, &chosen) {
		return chosen.ExitCode(), err
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// meant is the command of a command line that makes no sense, as far as it goes.
func meant(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		return parse.Context.Selected().FullPath()
	}
	return "mayfly"
}
