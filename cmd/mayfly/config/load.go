package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// readFile takes over what the YAML file sets.
func readFile(c *Config, all []*setting, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading configuration: %w", err)
	}
	document, err := parse(bytes.NewReader(text))
	if err != nil || document == nil {
		return atLines(name, err)
	}
	set := map[string]bool{}
	err = decode(document.Content[0], reflect.ValueOf(c).Elem(), "", func(path string) { set[path] = true })
	for _, s := range all {
		if set[s.path] {
			s.source = "file"
		}
	}
	return atLines(name, err)
}

// parse reads the one document of a file; nil where the file has none.
func parse(r io.Reader) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(r)
	if err != nil {
		return nil, err
	}
	var document, more yaml.Node
	if err := loader.Load(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := loader.Load(&more); !errors.Is(err, io.EOF) {
		return nil, &valueError{more.Line, "second document", "a configuration is one YAML document"}
	}
	return &document, nil
}

// atLines puts "file:line: " before each of the errors of a file.
func atLines(name string, err error) error {
	if err == nil {
		return nil
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var located []error
		for _, err := range several.Unwrap() {
			located = append(located, atLines(name, err))
		}
		return errors.Join(located...)
	}
	var value *valueError
	var syntax *yaml.LoadError
	switch {
	case errors.As(err, &value):
		return fmt.Errorf("%s:%d: %w", name, value.line, err)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: not YAML: %s", name, syntax.Mark.Line, syntax.Message)
	}
	return fmt.Errorf("reading %s: %w", name, err)
}

// readEnvironment takes over every setting whose variable is set. An empty
// variable counts as not set: compose files and charts pass those on.
func readEnvironment(all []*setting, lookup func(string) (string, bool)) error {
	var problems []error
	for _, s := range all {
		text, _ := lookup(s.variable())
		if text == "" {
			continue
		}
		s.source = "environment"
		if err := s.setText(text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.variable(), err))
		}
	}
	return errors.Join(problems...)
}

// readFlags takes over every flag that was given.
func readFlags(all []*setting, flags Flags) error {
	var problems []error
	for field, value := range reflect.ValueOf(flags).Fields() {
		path := field.Tag.Get("setting")
		if path == "" || value.IsNil() {
			continue
		}
		for _, s := range all {
			if s.path == path {
				s.source = "flag"
				problems = append(problems, s.setText(value.Elem().String()))
			}
		}
	}
	return errors.Join(problems...)
}
