package retention

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// EpochsPerWindow is how many epochs a window has where a policy names no
// epoch length.
const EpochsPerWindow = 96

// MinEpoch is the shortest epoch; windows and epochs are whole multiples of it,
// because the key-encryption key advances once per second.
const MinEpoch = time.Second

// MatchFields are the event fields that a policy may match on: none of them
// identifies a person.
var MatchFields = []string{"topic", "event", "server", "transport", "client", "outcome"}

// KeepFields are the event fields that the IP log stores only where a policy
// names them.
var KeepFields = []string{"transport", "client", "outcome"}

// MaxWindow is the longest window: what must be kept longer is no short-retention log.
const MaxWindow = 31 * 24 * time.Hour

// MaxEpochs is the most epochs that a window may have: each has its keys on every node of
// the keyring, and a look-up over the window asks for all of them.
const MaxEpochs = 10_000

// Policy says for which events an address is kept, how long, and why.
type Policy struct {
	Name string `yaml:"name"`
	// Match maps a field of MatchFields to glob patterns (path.Match) of which
	// one must fit. An empty Match fits every event.
	Match  map[string][]string `yaml:"match"`
	Window time.Duration       `yaml:"window"` // whole seconds
	// Epoch is the length of an epoch, whole seconds. Default: Window / 96, at least 1 s.
	Epoch time.Duration `yaml:"epoch"`
	Basis string        `yaml:"basis"` // the legal basis, in words
	Keep  []string      `yaml:"keep"`  // fields of KeepFields to store besides the usual ones
}

// Fielded is what a policy is matched against: an event that gives its fields
// by name, "" for one that is absent.
type Fielded interface{ Field(name string) string }

// EpochLength is the length of p's epochs.
func (p *Policy) EpochLength() time.Duration {
	if p.Epoch > 0 {
		return p.Epoch
	}
	return max((p.Window / EpochsPerWindow).Truncate(MinEpoch), MinEpoch)
}

// EpochAt is the epoch that an event of time t belongs to.
func (p *Policy) EpochAt(t time.Time) Epoch {
	length := p.EpochLength().Milliseconds()
	ms := t.UnixMilli()
	start := ms - ms%length
	if ms < 0 && ms%length != 0 {
		start -= length
	}
	return Epoch{Policy: p.Name, Start: start, Length: length}
}

// Epochs lists p's epochs that overlap [from, to], oldest first.
func (p *Policy) Epochs(from, to time.Time) []Epoch {
	var epochs []Epoch
	for e := p.EpochAt(from); !e.StartTime().After(to); e.Start += e.Length {
		epochs = append(epochs, e)
	}
	return epochs
}

// Live lists p's epochs that have begun and whose deadline has not come, oldest first.
func (p *Policy) Live(now time.Time) []Epoch {
	epochs := p.Epochs(now.Add(-p.Window), now)
	return slices.DeleteFunc(epochs, func(e Epoch) bool { return !e.Deadline(p.Window).After(now) })
}

// Matches reports whether p's match fits the event.
func (p *Policy) Matches(event Fielded) bool {
	for field, patterns := range p.Match {
		value := event.Field(field)
		if !slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, err := path.Match(pattern, value)
			return err == nil && ok
		}) {
			return false
		}
	}
	return true
}

// Validate says what is wrong with p, naming the setting.
func (p *Policy) Validate() error {
	switch {
	case !validName(p.Name):
		return fmt.Errorf("policy name %q: use 1 to 32 of a-z, 0-9 and '-'", p.Name)
	case p.Window < MinEpoch || p.Window%MinEpoch != 0:
		return fmt.Errorf("policy %s: window %v must be a whole number of seconds, at least 1s", p.Name, p.Window)
	case p.Window > MaxWindow:
		return fmt.Errorf("policy %s: window %v is longer than the most that is allowed, %v", p.Name, p.Window, MaxWindow)
	case p.Epoch != 0 && (p.Epoch < MinEpoch || p.Epoch%MinEpoch != 0):
		return fmt.Errorf("policy %s: epoch %v must be a whole number of seconds, at least 1s", p.Name, p.Epoch)
	case p.Epoch > p.Window:
		return fmt.Errorf("policy %s: epoch %v is longer than the window %v", p.Name, p.Epoch, p.Window)
	case p.Window/p.EpochLength() > MaxEpochs:
		return fmt.Errorf("policy %s: epoch %v makes %d epochs of the window %v, more than %d: make it longer",
			p.Name, p.Epoch, p.Window/p.Epoch, p.Window, MaxEpochs)
	}
	for field, patterns := range p.Match {
		if !slices.Contains(MatchFields, field) {
			return fmt.Errorf("policy %s: match on %q: a policy can match on %v only", p.Name, field, MatchFields)
		}
		for _, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil {
				return fmt.Errorf("policy %s: match on %s: pattern %q: %w", p.Name, field, pattern, err)
			}
		}
	}
	for _, field := range p.Keep {
		if !slices.Contains(KeepFields, field) {
			return fmt.Errorf("policy %s: keep %q: a policy can keep %v only", p.Name, field, KeepFields)
		}
	}
	return nil
}

// Policies are tried in order: the first that matches wins.
type Policies []Policy

// For returns the policy of an event, or nil: an event that no policy matches
// is refused, because it would have no deadline.
func (ps Policies) For(event Fielded) *Policy {
	for i := range ps {
		if ps[i].Matches(event) {
			return &ps[i]
		}
	}
	return nil
}

// NextDeadline is the first deadline of any epoch after now.
func (ps Policies) NextDeadline(now time.Time) (next time.Time) {
	for i := range ps {
		e := ps[i].EpochAt(now.Add(-ps[i].Window)) // the last whose deadline has come
		e.Start += e.Length
		if deadline := e.Deadline(ps[i].Window); next.IsZero() || deadline.Before(next) {
			next = deadline
		}
	}
	return next
}

// Validate checks every policy and that names are unique.
func (ps Policies) Validate() error {
	if len(ps) == 0 {
		return errors.New("policies: at least one is needed: without one every event is refused")
	}
	seen := map[string]bool{}
	for i := range ps {
		if err := ps[i].Validate(); err != nil {
			return err
		}
		if seen[ps[i].Name] {
			return fmt.Errorf("policy %s is defined twice", ps[i].Name)
		}
		seen[ps[i].Name] = true
	}
	return nil
}

func validName(s string) bool {
	if len(s) < 1 || len(s) > 32 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
