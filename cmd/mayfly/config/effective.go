package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
)

// Effective is a configuration as file, environment and flags make it, and who
// said what.
type Effective struct {
	*Config
	all []*setting
}

// Effective builds the configuration, valid or not.
func (f Flags) Effective() (*Effective, error) {
	c, all, err := f.read(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	return &Effective{c, all}, nil
}

// WriteYAML writes every setting with its meaning and who set it.
func (e *Effective) WriteYAML(w io.Writer) error {
	root, err := document(e.all, true)
	if err != nil {
		return err
	}
	return writeYAML(w, root)
}

// Document is the configuration as maps and lists, for JSON.
func (e *Effective) Document() (map[string]any, error) {
	root, err := document(e.all, true)
	if err != nil {
		return nil, err
	}
	var value map[string]any
	if err := root.Load(&value); err != nil {
		return nil, fmt.Errorf("reading the rendered configuration: %w", err)
	}
	return value, nil
}

// Strangers lists variables that begin as a section's settings do and are none:
// most likely a slip of the pen.
func (e *Effective) Strangers(environ []string) []string {
	known, sections := map[string]bool{}, map[string]bool{}
	for _, s := range e.all {
		section, _, _ := strings.Cut(s.path, ".")
		known[s.variable()], sections[strings.ToUpper(section)] = true, true
	}
	known["MAYFLY_DESK_URL"] = true // of mayfly lookup and mayfly audit
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

// Digest is the SHA-256 of the configuration as it is printed, with no password
// in it: a digest of one could be tried out.
func (c Config) Digest() (string, error) {
	root, err := document(settings(&c), false)
	if err != nil {
		return "", err
	}
	var text bytes.Buffer
	if err := writeYAML(&text, root); err != nil {
		return "", err
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:]), nil
}
