package main

import (
	"fmt"
	"os"
	"text/tabwriter"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/output"
)

// ConfigCmd is "mayfly config".
type ConfigCmd struct {
	Show    ConfigShowCmd    `cmd:"" default:"withargs" help:"Print the effective configuration and who set what (the default)."`
	Env     ConfigEnvCmd     `cmd:"" help:"List every setting: variable, default, meaning."`
	Example ConfigExampleCmd `cmd:"" help:"Print a complete, commented example file."`
}

// ConfigShowCmd is "mayfly config show".
type ConfigShowCmd struct {
	config.Flags
	output.Flag
}

// Help gives examples.
func (*ConfigShowCmd) Help() string {
	return `A flag wins over the environment, that over the file, that over the default.
Passwords in URLs are hidden. The exit code is 1 where the configuration is not valid.

Examples:
  mayfly config
  mayfly config --config mayfly.yaml --output json
  MAYFLY_KAFKA_BROKERS=kafka-1:9092,kafka-2:9092 mayfly config show`
}

// Run prints the configuration even where it is not valid: that is when it is needed.
func (cmd *ConfigShowCmd) Run() error {
	effective, err := cmd.Effective()
	if err != nil {
		return err
	}
	if cmd.JSON() {
		err = printDocument(effective)
	} else {
		err = effective.WriteYAML(os.Stdout)
	}
	if err != nil {
		return err
	}
	for _, name := range effective.Strangers(os.Environ()) {
		fmt.Fprintf(os.Stderr, "mayfly: note: %s is no setting\n", name)
	}
	if err := effective.Validate(); err != nil {
		return fmt.Errorf("not valid: %w", err)
	}
	return nil
}

// ConfigEnvCmd is "mayfly config env".
type ConfigEnvCmd struct{ output.Flag }

// Help gives examples.
func (*ConfigEnvCmd) Help() string {
	return `Lists are separated by commas; policies and field maps are YAML text.
A variable that is empty counts as not set.

Examples:
  mayfly config env
  mayfly config env --output json`
}

// Run prints the table of settings.
func (cmd *ConfigEnvCmd) Run() error {
	rows, err := config.Table()
	if err != nil {
		return err
	}
	if cmd.JSON() {
		return output.JSON(rows)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVARIABLE\tDEFAULT\tMEANING")
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.Setting, row.Variable, row.Default, row.Help)
	}
	return w.Flush()
}

func printDocument(effective *config.Effective) error {
	document, err := effective.Document()
	if err != nil {
		return err
	}
	return output.JSON(document)
}

// ConfigExampleCmd is "mayfly config example".
type ConfigExampleCmd struct{}

// Help gives examples.
func (*ConfigExampleCmd) Help() string {
	return `Examples:
  mayfly config example > mayfly.yaml
  mayfly run --config mayfly.yaml`
}

// Run prints the example that deploy/mayfly.example.yaml holds.
func (*ConfigExampleCmd) Run() error { return config.WriteExample(os.Stdout) }
