package event

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Writer writes events in the shape of one topic: the inverse of a decoder with
// the same field map. What the map gives no place is left out.
type Writer struct{ paths [][]string }

// NewWriter checks the field map, which may be nil.
func NewWriter(m FieldMap) (*Writer, error) {
	paths, err := m.paths()
	if err != nil {
		return nil, err
	}
	return &Writer{paths}, nil
}

// Write gives e as one JSON object.
func (w *Writer) Write(e *Event) ([]byte, error) {
	var plain map[string]json.RawMessage
	if err := json.Unmarshal(Append(nil, e), &plain); err != nil {
		return nil, fmt.Errorf("writing an event: %w", errShape)
	}
	object := map[string]any{}
	for name, value := range plain {
		path := w.paths[slices.Index(fieldNames[:], name)]
		if path == nil {
			continue
		}
		at := object
		for _, key := range path[:len(path)-1] {
			inner, ok := at[key].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[key] = inner
			}
			at = inner
		}
		at[path[len(path)-1]] = value
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("writing an event: %w", errShape)
	}
	return text, nil
}

// errShape stands for what encoding/json says, which may quote the event.
var errShape = fmt.Errorf("it has no JSON form")
