package config

import (
	"io"
	"time"

	"mayfly/retention"
)

// WriteExample writes a complete, commented configuration file.
func WriteExample(w io.Writer) error {
	c := example()
	root, err := document(settings(&c), false)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, `# Mayfly's configuration: every setting, with its default where it has one.
# Each can also be set in the environment, by the variable that is named, and the
# most usual ones by a flag. A flag wins over the environment, that over this file.
# An unknown key, a key that comes twice and a value of the wrong type are errors.
# The policies and the keyring's nodes are examples: how long addresses are kept,
# and why, is yours to say.

`)
	if err != nil {
		return err
	}
	return writeYAML(w, root)
}

// example is the default and what has none: keyring nodes and policies.
func example() Config {
	c := Default()
	c.Keyring.Nodes = []string{"redis://localhost:6380/0", "redis://localhost:6381/0"}
	c.Policies = retention.Policies{{
		Name:   "auth-failures",
		Match:  map[string][]string{"event": {"auth_fail"}},
		Window: 72 * time.Hour,
		Basis:  "legitimate interest: defence against break-in attempts",
		Keep:   []string{"client", "outcome"},
	}, {
		Name:   "connections",
		Window: 24 * time.Hour,
		Epoch:  15 * time.Minute,
		Basis:  "legitimate interest: handling of abuse reports",
	}}
	return c
}
