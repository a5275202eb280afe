// Package produce turns lines into connection events and writes them to a Kafka
// topic: JSON lines as they are, or a system's log in its own format. It can
// move old times to now, to replay a historical log, and send at the pace at
// which things happened.
//
// Only the commands import it. The invariants that it keeps: what it writes is
// what the ingest's decoder accepts; a line that is no event is counted by
// reason and shown nowhere; one event is written once, also when an
// acknowledgement is lost (the producer is idempotent).
package produce

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/event"
)

// The formats of lines.
const (
	JSON = "json" // one event per line, as the decoder reads them
	SSHD = "sshd" // OpenSSH's log, as syslog or journald write it
)

// Formats are all of them.
var Formats = []string{JSON, SSHD}

// How the times of an old log are moved to the present; see Config.Rebase.
const (
	RebaseNow  = "now"
	RebaseLast = "last"
)

// DefaultBuffer is how much of a pipe is kept to be read twice.
const DefaultBuffer = 64 << 20

// Config says what to read and where to.
type Config struct {
	Brokers []string
	Topic   string
	// CreateTopic creates a missing topic, with the broker's defaults.
	CreateTopic bool
	Format      string // one of Formats; empty is JSON
	// Fields is the field map of JSON lines that look different. They are passed
	// on as they are, so the topic's reader needs the same map.
	Fields event.FieldMap
	// Rebase is empty, or RebaseNow: each event happens when it is sent, so a whole
	// log fits into any window; a Speed spaces the events as they were spaced. Or
	// RebaseLast: all times are shifted so that the latest is now, with their
	// distances kept.
	Rebase string
	// Speed is how many times faster than it happened the input is sent; 0 is as
	// fast as possible.
	Speed float64
	// Zone is that of times without one: a name of the IANA database, or ±hh:mm.
	// Empty is UTC.
	Zone string
	// Buffer is how many bytes of an input that can't be read twice are kept in
	// memory to rebase it. 0 is DefaultBuffer.
	Buffer int64
}

// Dependencies are given by the command.
type Dependencies struct {
	Options []kgo.Opt // TLS and SASL
	// Progress, if any, is told how many bytes of the input have been read.
	Progress func(read int64)
}

// Summary says what became of the input.
type Summary struct {
	Lines    int            `json:"lines"`
	Produced int            `json:"produced"`
	Skipped  int            `json:"skipped"`
	Reasons  map[string]int `json:"reasons,omitempty"` // of skipped lines
	First    time.Time      `json:"first,omitzero"`    // the earliest event sent
	Last     time.Time      `json:"last,omitzero"`     // the latest
}

// Producer writes one input to one topic.
type Producer struct {
	config Config
	deps   Dependencies
	fields *event.Decoder
	zone   *time.Location
}

// New checks the configuration; nothing is opened before Run.
func New(config Config, deps Dependencies) (*Producer, error) {
	switch {
	case len(config.Brokers) == 0:
		return nil, errors.New("brokers: name at least one broker, host:port")
	case config.Topic == "":
		return nil, errors.New("topic: name the topic to write to")
	case config.Rebase != "" && config.Rebase != RebaseNow && config.Rebase != RebaseLast:
		return nil, fmt.Errorf("rebase: %q is unknown; use %q or %q", config.Rebase, RebaseNow, RebaseLast)
	case config.Rebase == RebaseLast && config.Speed != 0:
		return nil, fmt.Errorf("rebase: with a speed the events end later than now; use %q", RebaseNow)
	case !(config.Speed >= 0 && config.Speed <= 1e6):
		return nil, errors.New("speed: must be 0 (as fast as possible) or a factor up to 1000000")
	case config.Buffer < 0:
		return nil, errors.New("buffer: must not be negative")
	case config.Rebase != "" && len(config.Fields) > 0:
		return nil, errors.New("rebase: rebased events are written anew, under the fields' own names; it can't be used with a field map")
	}
	if config.Buffer == 0 {
		config.Buffer = DefaultBuffer
	}
	p := &Producer{config: config, deps: deps}
	var err error
	switch config.Format {
	case "", JSON:
		p.fields, err = event.NewDecoder(config.Fields)
	case SSHD:
		if len(config.Fields) > 0 {
			err = errors.New("fields: a field map is for JSON lines only")
		}
	default:
		err = fmt.Errorf("format: %q is unknown; there are %q", config.Format, Formats)
	}
	if err != nil {
		return nil, err
	}
	if p.zone, err = parseZone(config.Zone); err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	return p, nil
}

// Run reads in to its end and returns when the broker has acknowledged every
// event. The summary holds with an error too.
func (p *Producer) Run(ctx context.Context, in io.Reader) (Summary, error) {
	out, err := p.connect(ctx)
	if err != nil {
		return Summary{}, err
	}
	defer out.close()
	summary, err := p.replay(ctx, in, out.send)
	if err == nil {
		err = out.flush(ctx)
	}
	summary.Produced = out.written()
	if failure := out.failure(); failure != nil {
		err = failure
	}
	return summary, err
}

// parseZone knows names of the IANA database and ±hh:mm.
func parseZone(zone string) (*time.Location, error) {
	if t, err := time.Parse("-07:00", zone); err == nil {
		_, offset := t.Zone()
		return time.FixedZone(zone, offset), nil
	}
	return time.LoadLocation(zone)
}
