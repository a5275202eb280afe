package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// A setting is one leaf of the configuration. The walk that lists them is the
// only place that knows how a path, a variable and a field belong together.
type setting struct {
	path   string // "kafka.tls.ca_file"
	help   string
	value  reflect.Value // the field itself
	source string        // who said so last: "default", "file", "environment" or "flag"
}

// variable is the setting's name in the environment.
func (s *setting) variable() string {
	return "MAYFLY_" + strings.ToUpper(strings.ReplaceAll(s.path, ".", "_"))
}

// settings lists every setting of c, in the order of its fields.
func settings(c *Config) []*setting {
	return walk(reflect.ValueOf(c).Elem(), "")
}

func walk(section reflect.Value, path string) []*setting {
	var found []*setting
	for field, value := range section.Fields() {
		at := join(path, key(field))
		if value.Kind() == reflect.Struct {
			found = append(found, walk(value, at)...)
			continue
		}
		found = append(found, &setting{path: at, help: field.Tag.Get("help"), value: value, source: "default"})
	}
	return found
}

// key is a field's name in YAML.
func key(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return name
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// setText reads a setting as an environment variable or a flag holds it: text
// as it is, a list of texts with commas, anything else as YAML.
func (s *setting) setText(text string) error {
	switch {
	case s.value.Kind() == reflect.String:
		s.value.SetString(text)
		return nil
	case s.value.Type() == reflect.TypeFor[[]string]():
		items := strings.Split(text, ",")
		for i := range items {
			items[i] = strings.TrimSpace(items[i])
		}
		s.value.Set(reflect.ValueOf(items))
		return nil
	}
	var document yaml.Node
	if err := yaml.Load([]byte(text), &document); err != nil {
		return &valueError{path: s.path, problem: "want " + want(s.value.Type())}
	}
	return decode(document.Content[0], s.value, s.path, nil)
}

// valueError says what is wrong with a value, where it stands and not what it
// was: a configuration may hold passwords.
type valueError struct {
	line    int
	path    string
	problem string
}

func (e *valueError) Error() string { return e.path + ": " + e.problem }

// want names a type in the words of the documentation.
func want(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 1h30m"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "text"
	case t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32:
		return "a number"
	case t.Kind() == reflect.Slice:
		return "a list, each " + want(t.Elem())
	case t.Kind() == reflect.Map:
		return "a mapping from text, each to " + want(t.Elem())
	case t.Kind() == reflect.Struct:
		return "a mapping"
	case t.ConvertibleTo(reflect.TypeFor[int]()):
		return "a whole number"
	}
	panic(fmt.Sprintf("a setting can't be of type %v", t))
}
