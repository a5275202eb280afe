package event

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// FieldMap says where a topic's JSON has the event's fields: our name of the
// field to a path in theirs. A path is a key ("ts"), keys with dots between
// them for nested objects ("client.addr"), or, where keys hold dots
// themselves, a JSON Pointer (RFC 6901) with a leading slash ("/@fields/remote.ip").
// Paths go through objects, not through arrays. A field that is not in the map
// keeps its own name, unless a path in the map needs that name: then the
// topic has no such field.
type FieldMap map[string]string

// Validate says what is wrong with m, naming the setting.
func (m FieldMap) Validate() error {
	_, err := compile(m)
	return err
}

// field is one field of the event; its number indexes fieldNames.
type field uint8

const (
	noField field = iota
	fieldTime
	fieldAccount
	fieldIP
	fieldPort
	fieldPortEnd
	fieldEvent
	fieldSession
	fieldSince
	fieldServer
	fieldTransport
	fieldClient
	fieldOutcome
	fieldRTT
)

var fieldNames = [...]string{
	"", "time", "account", "ip", "port", "port_end", "event", "session", "since",
	"server", "transport", "client", "outcome", "rtt_ms",
}

// required fields come first in the numbering.
func (f field) required() bool { return f <= fieldIP }

// node is one object on the way to the fields: the keys that matter in it.
// Nodes are not changed once compiled, and shared by clones of a decoder.
type node struct {
	slots   [64]uint8 // by hash: number of the first member, counting from 1; 0: none
	members []member
}

// member is a key of a node: a field, or an object on the way to some.
type member struct {
	key    string
	field  field
	child  *node
	number int    // in its node, counting from 1
	bit    uint16 // marks the key as seen; a node has at most as many members as there are fields
	next   uint8  // number of the next member in the same slot
}

// slot spreads keys by length, first and last byte: the default names fall
// into slots of their own.
func slot(key []byte) uint {
	if len(key) == 0 {
		return 0
	}
	return (uint(key[0]) + 5*uint(key[len(key)-1]) + 3*uint(len(key))) % 64
}

func (n *node) lookup(key []byte) *member {
	for i := n.slots[slot(key)]; i != 0; {
		m := &n.members[i-1]
		if string(key) == m.key {
			return m
		}
		i = m.next
	}
	return nil
}

func (n *node) add(key string, f field, child *node) {
	s := slot([]byte(key))
	n.members = append(n.members, member{
		key: key, field: f, child: child,
		number: len(n.members) + 1,
		bit:    1 << len(n.members),
		next:   n.slots[s],
	})
	n.slots[s] = uint8(len(n.members)) //nolint:gosec // at most one member per field
}

// compile turns m into the tree that the decoder walks.
func compile(m FieldMap) (*node, error) {
	paths, err := m.paths()
	if err != nil {
		return nil, err
	}
	root := &node{}
	for f := fieldTime; f <= fieldRTT; f++ {
		path := paths[f]
		if path == nil {
			continue
		}
		n := root
		for _, key := range path[:len(path)-1] {
			m := n.lookup([]byte(key))
			if m == nil {
				n.add(key, noField, &node{})
				m = n.lookup([]byte(key))
			}
			n = m.child
		}
		n.add(path[len(path)-1], f, nil)
	}
	return root, nil
}

// paths gives each field's path, indexed by field; nil where the topic has no such field.
func (m FieldMap) paths() ([][]string, error) {
	paths := make([][]string, len(fieldNames))
	for name, path := range m {
		f := slices.Index(fieldNames[:], name)
		if f <= 0 {
			return nil, fmt.Errorf("fields: %q is no field of an event; there are %s", name, strings.Join(fieldNames[1:], ", "))
		}
		keys, err := parsePath(path)
		if err != nil {
			return nil, fmt.Errorf("fields: %s: %w", name, err)
		}
		paths[f] = keys
	}
	for f := range paths {
		for g := range f {
			if overlap(paths[f], paths[g]) {
				return nil, fmt.Errorf("fields: %s and %s: one path is the other or leads through it", fieldNames[g], fieldNames[f])
			}
		}
	}
	for f := fieldTime; f <= fieldRTT; f++ {
		if paths[f] != nil {
			continue
		}
		own := []string{fieldNames[f]}
		switch taken := slices.ContainsFunc(paths, func(p []string) bool { return overlap(p, own) }); {
		case !taken:
			paths[f] = own
		case f.required():
			return nil, fmt.Errorf("fields: %s: another field's path uses this name; give %s a path of its own", fieldNames[f], fieldNames[f])
		}
	}
	return paths, nil
}

// overlap reports whether one of two paths is a prefix of the other.
func overlap(a, b []string) bool {
	n := min(len(a), len(b))
	return n > 0 && slices.Equal(a[:n], b[:n])
}

func parsePath(path string) ([]string, error) {
	var keys []string
	switch {
	case path == "":
		return nil, fmt.Errorf("the path is empty")
	case !utf8.ValidString(path):
		return nil, fmt.Errorf("the path is not UTF-8")
	case path[0] == '/':
		keys = strings.Split(path[1:], "/")
		for i, key := range keys {
			if rest := strings.NewReplacer("~0", "", "~1", "").Replace(key); strings.Contains(rest, "~") {
				return nil, fmt.Errorf("path %q: in a JSON Pointer '~' is written ~0 and '/' is written ~1", path)
			}
			keys[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(key)
		}
	default:
		keys = strings.Split(path, ".")
		if slices.Contains(keys, "") {
			return nil, fmt.Errorf("path %q has an empty key between dots; write keys that hold dots as a JSON Pointer, like /a.b", path)
		}
	}
	if len(keys) > MaxDepth {
		return nil, fmt.Errorf("path %q is deeper than %d objects", path, MaxDepth)
	}
	return keys, nil
}
