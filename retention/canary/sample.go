package canary

import (
	"path"
	"strings"

	"mayfly/retention"
)

// sample is an event of which only the fields that policies match on are known.
type sample map[string]string

// Field implements retention.Fielded.
func (s sample) Field(name string) string { return s[name] }

// Sample finds the fields of an event that gets the i-th policy, and the topic to
// send it to. ok is false where none could be thought of: a policy before it
// takes them all, or its patterns are too intricate.
func Sample(policies retention.Policies, i int, topics []string) (topic string, fields map[string]string, ok bool) {
	p := &policies[i]
	names := make([]string, 0, len(p.Match))
	for name := range p.Match {
		if name != "topic" {
			names = append(names, name)
		}
	}
	for _, topic := range topics {
		event := sample{"topic": topic, "event": "connect", "outcome": "ok"}
		if fill(policies, p, event, names) {
			delete(event, "topic")
			return topic, event, true
		}
	}
	return "", nil, false
}

// fill tries the patterns of every field in turn until the event gets the policy.
func fill(policies retention.Policies, p *retention.Policy, event sample, names []string) bool {
	if len(names) == 0 {
		return policies.For(event) == p
	}
	name := names[0]
	for _, pattern := range p.Match[name] {
		for _, value := range candidates(pattern) {
			before, there := event[name]
			event[name] = value
			if fill(policies, p, event, names[1:]) {
				return true
			}
			if event[name] = before; !there {
				delete(event, name)
			}
		}
	}
	return false
}

// candidates are texts that fit a pattern of path.Match.
func candidates(pattern string) []string {
	var fitting []string
	for _, stars := range []string{"", "1", "a"} {
		text := strings.NewReplacer("*", stars, "?", "1", `\`, "").Replace(pattern)
		if ok, err := path.Match(pattern, text); err == nil && ok {
			fitting = append(fitting, text)
		}
	}
	return fitting
}
