package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"go.yaml.in/yaml/v4"
)

// ConfigCmd is "mayfly config".
type ConfigCmd struct {
	Show    ConfigShowCmd    `cmd:"" default:"withargs" help:"Print the effective configuration and who set what (the default)."`
	Env     ConfigEnvCmd     `cmd:"" help:"List every setting: variable, default, meaning."`
	Example ConfigExampleCmd `cmd:"" help:"Print a complete, commented example file."`
}

// Output is how a result is printed.
type Output struct {
	Output string `enum:"text,json" default:"text" help:"text or json."`
}

// JSON reports whether the result goes out as JSON.
func (o Output) JSON() bool { return o.Output == "json" }

// ConfigShowCmd is "mayfly config show".
type ConfigShowCmd struct {
	ConfigFlags
	Output
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
	c, all, err := cmd.read(os.LookupEnv)
	if err != nil {
		return err
	}
	root, err := document(all, true)
	if err != nil {
		return err
	}
	if cmd.JSON() {
		err = printNodeJSON(root)
	} else {
		err = printYAML(os.Stdout, root)
	}
	if err != nil {
		return err
	}
	for _, name := range strangers(all, os.Environ()) {
		fmt.Fprintf(os.Stderr, "mayfly: note: %s is no setting\n", name)
	}
	if err := c.Validate(); err != nil {
		return fmt.Errorf("not valid: %w", err)
	}
	return nil
}

// strangers lists variables that begin as a section's settings do and are none:
// most likely a slip of the pen.
func strangers(all []*setting, environ []string) []string {
	known, sections := map[string]bool{}, map[string]bool{}
	for _, s := range all {
		section, _, _ := strings.Cut(s.path, ".")
		known[s.variable()], sections[strings.ToUpper(section)] = true, true
	}
	var found []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, "MAYFLY_")
		section, _, _ := strings.Cut(rest, "_")
		if ours && sections[section] && !known[name] {
			found = append(found, name)
		}
	}
	return found
}

// ConfigEnvCmd is "mayfly config env".
type ConfigEnvCmd struct{ Output }

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
	c := defaultConfig()
	rows, err := table(settings(&c))
	if err != nil {
		return err
	}
	if cmd.JSON() {
		return printJSON(rows)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVARIABLE\tDEFAULT\tMEANING")
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row.Setting, row.Variable, row.Default, row.Help)
	}
	return w.Flush()
}

// printYAML prints a mapping with an empty line between its members.
func printYAML(w io.Writer, root *yaml.Node) error {
	for i := 0; i < len(root.Content); i += 2 {
		part := &yaml.Node{Kind: yaml.MappingNode, Content: root.Content[i : i+2]}
		text, err := yaml.Dump(part, yaml.WithLineWidth(-1))
		if err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
		if i > 0 {
			text = append([]byte("\n"), text...)
		}
		if _, err := w.Write(text); err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
	}
	return nil
}

// printNodeJSON prints a YAML document as JSON.
func printNodeJSON(root *yaml.Node) error {
	var value map[string]any
	if err := root.Load(&value); err != nil {
		return fmt.Errorf("reading the rendered configuration: %w", err)
	}
	return printJSON(value)
}

func printJSON(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
