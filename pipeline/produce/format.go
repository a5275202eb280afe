package produce

import "mayfly/pipeline/event"

// Reasons to skip a line besides those that the decoder has.
const (
	// Unrelated is a line of a log that tells of no account with address and port.
	Unrelated event.Refusal = "unrelated"
	// Ambiguous is a line whose address depends on how one reads it.
	Ambiguous event.Refusal = "ambiguous"
)

// parser reads the lines of one format, in order. The event's strings are valid
// until the next line.
type parser interface {
	parse(line []byte, e *event.Event) event.Refusal
}

type jsonLines struct{ decoder *event.Decoder }

func (j jsonLines) parse(line []byte, e *event.Event) event.Refusal {
	return j.decoder.Decode(line, e)
}
