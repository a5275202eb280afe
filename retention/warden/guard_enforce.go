package warden

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"mayfly/retention/keyring"
)

// TopicEnforced says that the topic is kept within its bound by this process.
const TopicEnforced keyring.Condition = "enforced"

// Position is where everybody is in a partition.
type Position struct {
	Start     int64 // the first offset that is still readable
	Expired   int64 // everything below has a stamp before the time that was asked for
	Committed int64 // by our group; -1: nothing
	Held      int64 // the first offset that another group has not read yet; math.MaxInt64: there is none
}

// TopicAdmin changes topics.
type TopicAdmin interface {
	// SetTopic sets some settings of a topic, and leaves the others alone.
	SetTopic(ctx context.Context, topic string, settings map[string]string) error
	// Positions fails unless it knows of every group that may read the topic.
	Positions(ctx context.Context, topic, group string, before time.Time) (map[int32]Position, error)
	// DeleteRecords makes what is before the given offsets unreadable, by partition.
	DeleteRecords(ctx context.Context, topic string, before map[int32]int64) error
}

// storedFor is how long ago a record must have been stored before it is deleted:
// time to notice a failover of Redis, and to read it again.
const storedFor = time.Minute

// Enforcer keeps exclusive topics within their bound: their settings, and records
// gone at the shortest window's end or a minute after they were stored, whichever
// comes first. The invariant: nothing that another group has yet to read is
// deleted, and where it is not known who reads, nothing is.
type Enforcer struct {
	admin  TopicAdmin
	expect TopicExpectations

	mu   sync.Mutex // guards seen
	seen map[string][]committedAt
}

// committedAt is how far our group had committed a topic at some time.
type committedAt struct {
	when    time.Time
	offsets map[int32]int64
}

// NewEnforcer makes an enforcer for topics that only we read.
func NewEnforcer(admin TopicAdmin, e TopicExpectations) *Enforcer {
	return &Enforcer{admin: admin, expect: e, seen: map[string][]committedAt{}}
}

const allowEnforce = "allow AlterConfigs and Delete on the topic, and Describe on the cluster and on groups, to Mayfly's user; " +
	"mayfly doctor --emit prints how. Or set kafka.guard: observe"

// Enforce does what the topic needs at this time, and says what came of it.
func (x *Enforcer) Enforce(ctx context.Context, f *TopicFacts, now time.Time) keyring.Finding {
	to := keyring.Findings{Area: keyring.AreaKafka, Subject: "topic " + f.Name}
	positions, err := x.admin.Positions(ctx, f.Name, x.expect.Group, now.Add(-x.expect.window(f.Name)))
	if err != nil {
		to.Add(TopicEnforced, keyring.Unattested, "nothing was done: it is not known who reads it", allowEnforce)
		return to.List[0]
	}
	shared := false
	for _, p := range positions {
		shared = shared || p.Held != math.MaxInt64
	}
	settings := f.tightened(x.expect)
	if len(settings) > 0 && !shared { // shorter settings would cut others short
		if err := x.admin.SetTopic(ctx, f.Name, settings); err != nil {
			to.Add(TopicEnforced, keyring.Unattested, "its settings could not be set", allowEnforce)
			return to.List[0]
		}
	}
	if cuts := x.cuts(f.Name, positions, now); len(cuts) > 0 {
		if err := x.admin.DeleteRecords(ctx, f.Name, cuts); err != nil {
			to.Add(TopicEnforced, keyring.Unattested, "its records could not be deleted", allowEnforce)
			return to.List[0]
		}
	}
	if shared {
		to.Add(TopicEnforced, keyring.Warn, "another group reads it: its settings are left alone, and what that group has not read stays",
			"find who reads it, and end that; or set kafka.exclusive: false")
		return to.List[0]
	}
	to.Add(TopicEnforced, keyring.Pass, fmt.Sprintf("records go %s after they were stored, or at their window's end", span(storedFor)), "")
	return to.List[0]
}

// cuts gives by partition where its log is to begin, where that is later than now.
func (x *Enforcer) cuts(topic string, positions map[int32]Position, now time.Time) map[int32]int64 {
	stored := x.stored(topic, positions, now)
	cuts := map[int32]int64{}
	for number, p := range positions {
		if cut := min(max(p.Expired, stored[number]), p.Held); cut > p.Start {
			cuts[number] = cut
		}
	}
	return cuts
}

// stored remembers how far our group has committed, and gives how far it had a
// minute ago; a rewind since then counts.
func (x *Enforcer) stored(topic string, positions map[int32]Position, now time.Time) map[int32]int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	present := committedAt{now, map[int32]int64{}}
	for number, p := range positions {
		present.offsets[number] = p.Committed
	}
	history := append(x.seen[topic], present)
	for len(history) > 1 && now.Sub(history[1].when) >= storedFor {
		history = history[1:]
	}
	x.seen[topic] = history
	stored := map[int32]int64{}
	if now.Sub(history[0].when) < storedFor {
		return stored
	}
	for number, at := range history[0].offsets {
		stored[number] = min(at, present.offsets[number])
	}
	return stored
}

// tightened are the settings that are looser than the topic's bound needs. None
// is loosened, and what the cluster does not tell is left alone.
func (f *TopicFacts) tightened(e TopicExpectations) map[string]string {
	settings, window := map[string]string{}, e.window(f.Name)
	if f.Config == nil {
		return settings
	}
	if f.Config["cleanup.policy"] != "delete" {
		settings["cleanup.policy"] = "delete"
	}
	if kept, told := f.milliseconds("retention.ms"); told && kept > window {
		settings["retention.ms"] = strconv.FormatInt(window.Milliseconds(), 10)
	}
	if rolled, told := f.milliseconds("segment.ms"); told && rolled > window {
		settings["segment.ms"] = strconv.FormatInt(segment(window).Milliseconds(), 10)
	}
	ahead, bounded := f.milliseconds("message.timestamp.after.max.ms")
	if kind := f.Config["message.timestamp.type"]; kind == "CreateTime" && (!bounded || ahead > e.Skew) {
		settings["message.timestamp.type"] = "LogAppendTime"
	}
	return settings
}

// Coverage is how the topics are kept from outliving the window.
type Coverage struct {
	Sealed   bool // only sealed batches are taken
	Enforced bool // exclusive, and enforced
}

// Covers reports whether Kafka is covered: the topics are seen to hold nothing readable,
// or they are enforced and every condition of every topic passes.
func (c Coverage) Covers(findings []keyring.Finding) bool {
	topics, all, sealed, plain := 0, true, 0, 0
	for _, f := range findings {
		if f.Area != keyring.AreaKafka {
			continue
		}
		passes := f.Verdict == keyring.Pass
		all = all && passes
		topics++
		switch {
		case f.Condition == SealedOnly && passes:
			sealed++
		case f.Condition == SealedOnly:
			plain++
		}
	}
	return c.Sealed && sealed > 0 && plain == 0 || c.Enforced && all && topics > 1 // the cluster and a topic
}
