package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// decode reads a YAML node into value, strictly: a key that value does not
// have, one that comes twice and a value of the wrong type are errors that name
// the line and the key. It collects what is wrong and goes on. An empty value
// ("brokers:") leaves the default. read is told each path that was set.
//
// The yaml library decodes strictly too, but names no key where a type is
// wrong, quotes the value, which may be a password, and adds to a default map.
func decode(node *yaml.Node, value reflect.Value, path string, read func(path string)) error {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.ShortTag() == "!!null" {
		return nil
	}
	if read != nil {
		read(path)
	}
	switch value.Kind() {
	case reflect.Struct:
		return decodeStruct(node, value, path, read)
	case reflect.Map:
		return decodeMap(node, value, path)
	case reflect.Slice:
		return decodeSlice(node, value, path)
	}
	fresh := reflect.New(value.Type())
	plain := value.Kind() != reflect.String || node.ShortTag() == "!!str" // the library takes "group: true" for a text
	if err := node.Load(fresh.Interface()); err != nil || !plain {
		return wrongType(node, value, path)
	}
	value.Set(fresh.Elem())
	return nil
}

func decodeStruct(node *yaml.Node, value reflect.Value, path string, read func(string)) error {
	fields := map[string]reflect.Value{}
	for field, value := range value.Fields() {
		fields[key(field)] = value
	}
	return eachPair(node, value, path, func(name, item *yaml.Node, at string) error {
		field, ok := fields[name.Value]
		if !ok {
			return &valueError{name.Line, at, "no such setting (mayfly config env lists them)"}
		}
		return decode(item, field, at, read)
	})
}

func decodeMap(node *yaml.Node, value reflect.Value, path string) error {
	fresh := reflect.MakeMap(value.Type())
	err := eachPair(node, value, path, func(name, item *yaml.Node, at string) error {
		element := reflect.New(value.Type().Elem()).Elem()
		err := decodeElement(item, element, at)
		fresh.SetMapIndex(reflect.ValueOf(name.Value).Convert(value.Type().Key()), element)
		return err
	})
	value.Set(fresh)
	return err
}

func decodeSlice(node *yaml.Node, value reflect.Value, path string) error {
	if node.Kind != yaml.SequenceNode {
		return wrongType(node, value, path)
	}
	fresh := reflect.MakeSlice(value.Type(), len(node.Content), len(node.Content))
	var problems []error
	for i, item := range node.Content {
		problems = append(problems, decodeElement(item, fresh.Index(i), path+"["+strconv.Itoa(i)+"]"))
	}
	value.Set(fresh)
	return errors.Join(problems...)
}

// decodeElement is decode for what has no default that an empty value could leave.
func decodeElement(node *yaml.Node, value reflect.Value, path string) error {
	if node.ShortTag() == "!!null" {
		return wrongType(node, value, path)
	}
	return decode(node, value, path, nil)
}

// eachPair calls do for every key of a mapping, and refuses one that comes twice.
func eachPair(node *yaml.Node, value reflect.Value, path string, do func(name, item *yaml.Node, at string) error) error {
	if node.Kind != yaml.MappingNode {
		return wrongType(node, value, path)
	}
	lines := map[string]int{}
	var problems []error
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, item := node.Content[i], node.Content[i+1]
		at := join(path, name.Value)
		if first := lines[name.Value]; first > 0 {
			problems = append(problems, &valueError{name.Line, at, fmt.Sprintf("set twice, first in line %d", first)})
			continue
		}
		lines[name.Value] = name.Line
		problems = append(problems, do(name, item, at))
	}
	return errors.Join(problems...)
}

func wrongType(node *yaml.Node, value reflect.Value, path string) error {
	return &valueError{node.Line, path, "want " + want(value.Type())}
}
