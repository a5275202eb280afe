package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/output"
	"mayfly/pipeline/event"
	"mayfly/retention"
)

// PolicyCmd is "mayfly policy".
type PolicyCmd struct {
	Test PolicyTestCmd `cmd:"" help:"Say which policy an event would get, and why."`
}

// PolicyTestCmd is "mayfly policy test".
type PolicyTestCmd struct {
	config.Flags
	output.Flag
	Stamp time.Time `placeholder:"TIME" help:"The record's stamp in Kafka, RFC 3339. Default: now."`
	Event string    `arg:"" optional:"" help:"The event as JSON; without it, or as -, it is read from standard input."`
}

// Help gives examples.
func (*PolicyTestCmd) Help() string {
	return `The event is decoded through the configured field map, as if it came from the
first of the configured topics. The exit code is 1 where it would not be stored.

Examples:
  mayfly policy test --config mayfly.yaml < event.json
  mayfly policy test -c mayfly.yaml --topic logins --output json < event.json
  mayfly policy test -c mayfly.yaml '{"time":"2026-11-22T10:00:00Z","account":"ada","ip":"192.0.2.1"}'`
}

// Run tries one event.
func (cmd *PolicyTestCmd) Run() error {
	c, err := cmd.Load("kafka", "policies", "fields")
	if err != nil {
		return err
	}
	e, err := cmd.decode(c)
	if err != nil {
		return err
	}
	now := time.Now()
	if cmd.Stamp.IsZero() {
		cmd.Stamp = now
	}
	v := judge(c.Policies, e, cmd.Stamp)
	if cmd.JSON() {
		err = output.JSON(v)
	} else {
		err = v.print(os.Stdout)
	}
	switch {
	case err != nil:
		return err
	case v.Policy == "":
		return errors.New("no policy matches: the event would be refused")
	case !v.Deadline.After(now):
		return errors.New("the deadline has passed: the event would be counted, not stored")
	}
	return nil
}

// decode reads the event. What is wrong with it is said without a byte of it.
func (cmd *PolicyTestCmd) decode(c config.Config) (*event.Event, error) {
	text := []byte(cmd.Event)
	if cmd.Event == "" || cmd.Event == "-" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(os.Stdin, event.MaxSize+1)); err != nil {
			return nil, fmt.Errorf("reading the event: %w", err)
		}
	}
	decoder, err := event.NewDecoder(c.Fields)
	if err != nil {
		return nil, err
	}
	e := &event.Event{Topic: c.Kafka.Topics[0]}
	if refusal := decoder.Decode(text, e); refusal != event.Accepted {
		return nil, fmt.Errorf("the event would be refused: %s", refusal)
	}
	return e, nil
}

// verdict is what would become of an event. It holds nothing of the event but
// its time and the fields that a policy matches on.
type verdict struct {
	Topic    string    `json:"topic"`
	Policy   string    `json:"policy,omitempty"`
	Tried    []attempt `json:"tried"`
	Time     time.Time `json:"time"` // the earlier of the event's time and the stamp
	Window   string    `json:"window,omitempty"`
	Epoch    string    `json:"epoch,omitempty"`
	Start    time.Time `json:"epoch_start,omitzero"`
	End      time.Time `json:"epoch_end,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"`
	Basis    string    `json:"basis,omitempty"`
	Keep     []string  `json:"keep,omitempty"`
}

// attempt is one policy that was tried, up to the first that matched.
type attempt struct {
	Policy  string `json:"policy"`
	Matches bool   `json:"matches"`
	Because string `json:"because"`
}

func judge(policies retention.Policies, e *event.Event, stamp time.Time) verdict {
	at := time.UnixMilli(min(e.Time, stamp.UnixMilli())).UTC()
	v := verdict{Topic: e.Topic, Time: at, Tried: []attempt{}}
	for i := range policies {
		p := &policies[i]
		v.Tried = append(v.Tried, attempt{p.Name, p.Matches(e), explain(p, e)})
		if !p.Matches(e) {
			continue
		}
		epoch := p.EpochAt(at)
		v.Policy, v.Basis, v.Keep = p.Name, p.Basis, p.Keep
		v.Window, v.Epoch = output.Duration(p.Window), epoch.String()
		v.Start, v.End = epoch.StartTime().UTC(), epoch.EndTime().UTC()
		v.Deadline = epoch.Deadline(p.Window).UTC()
		break
	}
	return v
}

// explain says why p matches e, or which field keeps it from it.
func explain(p *retention.Policy, e *event.Event) string {
	if len(p.Match) == 0 {
		return "it matches every event"
	}
	var fits []string
	for _, field := range retention.MatchFields {
		patterns, asked := p.Match[field]
		if !asked {
			continue
		}
		value := e.Field(field)
		i := slices.IndexFunc(patterns, func(pattern string) bool {
			ok, _ := path.Match(pattern, value)
			return ok
		})
		if i < 0 {
			return fmt.Sprintf("%s %q fits none of %s", field, value, strings.Join(patterns, ", "))
		}
		fits = append(fits, fmt.Sprintf("%s %q fits %s", field, value, patterns[i]))
	}
	return strings.Join(fits, "; ")
}

func (v verdict) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, a := range v.Tried {
		word := "passed over"
		if a.Matches {
			word = "policy"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", word, a.Policy, a.Because)
	}
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, value)
		}
	}
	row("topic", v.Topic)
	row("time", stamp(v.Time))
	if v.Policy != "" {
		row("window", v.Window)
		row("epoch", v.Epoch)
		row("  from", stamp(v.Start))
		row("  to", stamp(v.End))
		row("deadline", stamp(v.Deadline))
		row("basis", v.Basis)
		row("keeps also", strings.Join(v.Keep, ", "))
	}
	return t.Flush()
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z07:00") }
