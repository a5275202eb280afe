package produce

import (
	"errors"
	"fmt"
	"io"
	"time"

	"mayfly/pipeline/event"
)

// Format reads the lines of a log as they are written, for who does not send them
// to Kafka as they are. It is safe for concurrent use.
type Format struct {
	config Config
	fields *event.Decoder
	zone   *time.Location
}

// NewFormat knows Formats; fields is for JSON alone, zone is that of lines that name none.
func NewFormat(name string, fields event.FieldMap, zone string) (*Format, error) {
	f := &Format{config: Config{Format: name}}
	var err error
	switch name {
	case JSON:
		f.fields, err = event.NewDecoder(fields)
	case SSHD:
	default:
		err = fmt.Errorf("format: %q is unknown; there are %q", name, Formats)
	}
	if err != nil {
		return nil, err
	}
	if f.zone, err = parseZone(zone); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	return f, nil
}

// renewal is how often the year of times without one is found anew.
const renewal = time.Hour

// Read calls take for every line until the input ends: with its event, whose strings
// are valid until take returns, or the reason why it has none. It returns take's error.
func (f *Format) Read(in io.Reader, take func(e *event.Event, refusal event.Refusal) error) error {
	p := &Producer{config: f.config, zone: f.zone}
	if f.fields != nil {
		p.fields = f.fields.Clone()
	}
	input := newLines(in)
	var lines parser
	var made time.Time
	var e event.Event
	for {
		line, err := input.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading lines: %w", err)
		}
		if now := time.Now(); lines == nil || now.Sub(made) > renewal {
			lines, made = p.parser(now), now
		}
		if err := take(&e, lines.parse(line, &e)); err != nil {
			return err
		}
	}
}
