package warden

import (
	"slices"

	"mayfly/retention/keyring"
)

// Assurance is how much of the guarantee is attested.
type Assurance struct {
	Level   int      `json:"level"`
	Meaning string   `json:"meaning"`
	Missing []string `json:"missing,omitempty"` // what keeps it from the next level
}

var meanings = [...]string{
	"something contradicts the guarantee, or nothing is attested",
	"TTL only attested",
	"sealed, volatile keyring attested on every node",
	"sealed, volatile keyring attested on every node; Kafka covered; logs witnessed",
}

// Evidence is everything that the level rests on.
type Evidence struct {
	Findings []keyring.Finding
	// KafkaCovered: every topic is sealed, or exclusive and enforced.
	KafkaCovered bool
	Witnessed    bool // the logs
}

// What must pass of each subject for a level to be reached.
var (
	ttlConditions = map[keyring.Area][]keyring.Condition{
		keyring.AreaRedis: {keyring.Version, keyring.Clock},
	}
	sealedConditions = map[keyring.Area][]keyring.Condition{
		keyring.AreaKeyring: {keyring.Version, keyring.Clock, keyring.Standalone, keyring.AppendOnly, keyring.Snapshots, keyring.Replicas},
		keyring.AreaKEK:     {keyring.KEKMode, keyring.KEKVolatile},
	}
)

// Assess computes the level. It rises only by what has passed: what is
// unattested, and a server that is away, attest nothing.
func Assess(e Evidence) Assurance {
	var contradictions []string
	for _, f := range e.Findings {
		// A server that is away attests nothing, but it contradicts nothing either.
		if f.Verdict == keyring.Fail && f.Condition != keyring.Answers {
			contradictions = append(contradictions, describe(f))
		}
	}
	if len(contradictions) > 0 {
		return Assurance{0, meanings[0], contradictions}
	}
	if missing := lacking(e.Findings, ttlConditions); len(missing) > 0 {
		return Assurance{0, meanings[0], missing}
	}
	if missing := lacking(e.Findings, sealedConditions); len(missing) > 0 {
		return Assurance{1, meanings[1], missing}
	}
	var missing []string
	if !e.KafkaCovered {
		missing = append(missing, "kafka: no topic is sealed, or exclusive and enforced")
	}
	if !e.Witnessed {
		missing = append(missing, "receipts: no witness signs the logs")
	}
	if len(missing) > 0 {
		return Assurance{2, meanings[2], missing}
	}
	return Assurance{3, meanings[3], nil}
}

func describe(f keyring.Finding) string {
	return string(f.Area) + " " + f.Subject + ": " + string(f.Condition) + ": " + string(f.Verdict)
}

// lacking names what does not pass, what was not looked at, and areas of which
// nothing was seen.
func lacking(findings []keyring.Finding, required map[keyring.Area][]keyring.Condition) []string {
	var missing []string
	for area, conditions := range required {
		seen := map[keyring.Condition]int{}
		subjects := map[string]bool{}
		for _, f := range findings {
			if f.Area != area || !slices.Contains(conditions, f.Condition) {
				continue
			}
			subjects[f.Subject] = true
			seen[f.Condition]++
			if f.Verdict != keyring.Pass {
				missing = append(missing, describe(f))
			}
		}
		if len(subjects) == 0 {
			missing = append(missing, string(area)+": nothing was seen")
		}
		for _, condition := range conditions {
			if seen[condition] < len(subjects) {
				missing = append(missing, string(area)+": "+string(condition)+" was not looked at everywhere")
			}
		}
	}
	slices.Sort(missing)
	return missing
}
