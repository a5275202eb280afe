package config

import (
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"mayfly/cmd/mayfly/output"

	"go.yaml.in/yaml/v4"
)

// document renders settings as one YAML document that says what each of them
// is; withSources adds who set it where that is not the default.
func document(all []*setting, withSources bool) (*yaml.Node, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range all {
		node, err := render(s.value)
		if err != nil {
			return nil, fmt.Errorf("rendering %s: %w", s.path, err)
		}
		path := strings.Split(s.path, ".")
		section := root
		for _, name := range path[:len(path)-1] {
			section = member(section, name)
		}
		name := scalar(path[len(path)-1])
		name.HeadComment = s.comment(withSources)
		section.Content = append(section.Content, name, node)
	}
	return root, nil
}

// comment is what stands above a setting, in lines of a readable length.
func (s *setting) comment(withSource bool) string {
	const width = 88
	origin := "· " + s.variable()
	if withSource && s.source != "default" {
		origin += " · set by " + s.source
	}
	line, text := "#", ""
	for _, word := range append(strings.Fields(s.help), origin) {
		if len(line)+len(word) >= width {
			text += line + "\n"
			line = "#"
		}
		line += " " + word
	}
	return text + line
}

// member is the mapping called name in section, which it adds when it is new:
// settings come in the order of the walk, so it can only be the last one.
func member(section *yaml.Node, name string) *yaml.Node {
	if n := len(section.Content); n > 0 && section.Content[n-2].Value == name {
		return section.Content[n-1]
	}
	node := &yaml.Node{Kind: yaml.MappingNode}
	section.Content = append(section.Content, scalar(name), node)
	return node
}

// render gives a value as a person would write it: durations short, lists of
// text in one line, what a policy leaves out left out, no password in a URL.
func render(value reflect.Value) (*yaml.Node, error) {
	switch {
	case value.Type() == reflect.TypeFor[time.Duration]():
		return scalar(output.Duration(time.Duration(value.Int()))), nil
	case value.Kind() == reflect.String:
		node := &yaml.Node{}
		return node, node.Dump(withoutPassword(value.String()))
	case value.Kind() == reflect.Slice:
		return renderSlice(value)
	case value.Kind() == reflect.Map:
		return renderMap(value)
	case value.Kind() == reflect.Struct:
		return renderStruct(value)
	}
	node := &yaml.Node{}
	return node, node.Dump(value.Interface())
}

func renderSlice(value reflect.Value) (*yaml.Node, error) {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	if value.Len() == 0 || value.Type().Elem().Kind() == reflect.String {
		list.Style = yaml.FlowStyle
	}
	for i := range value.Len() {
		item, err := render(value.Index(i))
		if err != nil {
			return nil, err
		}
		list.Content = append(list.Content, item)
	}
	return list, nil
}

func renderMap(value reflect.Value) (*yaml.Node, error) {
	mapping := &yaml.Node{Kind: yaml.MappingNode}
	if value.Len() == 0 {
		mapping.Style = yaml.FlowStyle
	}
	keys := value.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, name := range keys {
		item, err := render(value.MapIndex(name))
		if err != nil {
			return nil, err
		}
		mapping.Content = append(mapping.Content, scalar(name.String()), item)
	}
	return mapping, nil
}

func renderStruct(value reflect.Value) (*yaml.Node, error) {
	mapping := &yaml.Node{Kind: yaml.MappingNode}
	for field, value := range value.Fields() {
		if value.IsZero() {
			continue
		}
		item, err := render(value)
		if err != nil {
			return nil, err
		}
		mapping.Content = append(mapping.Content, scalar(key(field)), item)
	}
	return mapping, nil
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// withoutPassword hides the password of a URL.
func withoutPassword(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return "(unreadable URL)"
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "hidden")
	}
	return u.String()
}

// Row is one line of the table of settings.
type Row struct {
	Setting  string `json:"setting"`
	Variable string `json:"variable"`
	Type     string `json:"type"`
	Default  string `json:"default"`
	Help     string `json:"help"`
}

// Table describes every setting; all hold their defaults.
func Table() ([]Row, error) {
	var rows []Row
	c := Default()
	for _, s := range settings(&c) {
		text, err := s.text()
		if err != nil {
			return nil, fmt.Errorf("rendering %s: %w", s.path, err)
		}
		rows = append(rows, Row{s.path, s.variable(), want(s.value.Type()), text, s.help})
	}
	return rows, nil
}

// text is the inverse of setText.
func (s *setting) text() (string, error) {
	node, err := render(s.value)
	if err != nil {
		return "", err
	}
	switch {
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case s.value.Type() == reflect.TypeFor[[]string]():
		items := make([]string, len(node.Content))
		for i, item := range node.Content {
			items[i] = item.Value
		}
		return strings.Join(items, ","), nil
	}
	text, err := yaml.Dump(node)
	return strings.TrimSpace(string(text)), err
}

// writeYAML prints a mapping with an empty line between its members.
func writeYAML(w io.Writer, root *yaml.Node) error {
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
