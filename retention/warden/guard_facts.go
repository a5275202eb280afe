package warden

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayfly/retention"
)

// TopicFacts are what a cluster tells of a topic. What it refuses to tell is
// absent, or not "told".
type TopicFacts struct {
	Name       string
	Exists     *bool
	Partitions int               // 0: not told
	Replicas   int               // per partition; 0: not told
	Config     map[string]string // effective settings; nil: not told
	// Oldest is the stamp of each partition's first record; empty ones have none.
	Oldest     map[int32]time.Time
	OldestTold bool // of all partitions
	Newest     time.Time
	NewestTold bool
	Groups     []string // that have committed offsets of the topic
	GroupsTold bool     // these are all groups, not only those that this user may see
	// CheckInterval is how often brokers look for segments to delete; 0: not told.
	CheckInterval time.Duration
	Sampled       int  // newest records that were looked at, where only sealed batches are taken
	Plain         int  // of them that are none
	SampleTold    bool // of all partitions
}

// Kafka's defaults.
const (
	checkInterval = 5 * time.Minute
	fileDelay     = time.Minute
)

// TopicExpectations are what a topic is judged by.
type TopicExpectations struct {
	Policies retention.Policies
	Group    string        // ours
	Skew     time.Duration // how far clocks may differ
	Enforce  bool          // the warden sets the topics, and deletes their records
	Sealed   bool          // only sealed batches are taken
	// PlainSeen is when plain events were last seen among the newest records, by topic.
	PlainSeen map[string]time.Time
}

// window is the shortest one of the policies that may match the topic's events:
// a record may hold an address of any of them.
func (e TopicExpectations) window(topic string) time.Duration {
	shortest, all := time.Duration(0), time.Duration(0)
	for i := range e.Policies {
		p := &e.Policies[i]
		if all == 0 || p.Window < all {
			all = p.Window
		}
		patterns, asked := p.Match["topic"]
		if asked && !slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, _ := path.Match(pattern, topic)
			return ok
		}) {
			continue
		}
		if shortest == 0 || p.Window < shortest {
			shortest = p.Window
		}
	}
	if shortest == 0 {
		return all // no policy takes its events; they lie there all the same
	}
	return shortest
}

// segment is the segment.ms to ask for: short against the window, but no new
// file more often than each minute unless the window itself is shorter.
func segment(window time.Duration) time.Duration {
	return min(max(window/4, time.Minute), window, time.Hour)
}

// Bound is how long after its stamp a record's bytes may be on the topic's
// disks, where retention.ms is at most the window: until its segment is rolled,
// found, and its file removed.
func (f *TopicFacts) Bound(window time.Duration) time.Duration {
	check, delay := f.CheckInterval, fileDelay
	if check == 0 {
		check = checkInterval
	}
	if told, ok := f.milliseconds("file.delete.delay.ms"); ok {
		delay = told
	}
	rolled, ok := f.milliseconds("segment.ms")
	if !ok {
		rolled = window
	}
	return window + min(rolled, window) + check + delay
}

// milliseconds reads a setting; a negative one means for ever, and is the longest duration.
func (f *TopicFacts) milliseconds(name string) (time.Duration, bool) {
	ms, err := strconv.ParseInt(f.Config[name], 10, 64)
	const longest = int64(1<<63-1) / int64(time.Millisecond)
	if err != nil {
		return 0, false
	}
	if ms < 0 || ms > longest {
		return 1<<63 - 1, true
	}
	return time.Duration(ms) * time.Millisecond, true
}

// oldest is the earliest stamp among the partitions' first records.
func (f *TopicFacts) oldest() (stamp time.Time, partition int32, found bool) {
	for number, t := range f.Oldest {
		if !found || t.Before(stamp) {
			stamp, partition, found = t, number, true
		}
	}
	return stamp, partition, found
}

// OldestAge is the age of the topic's oldest record, 0 where it is empty; the
// second result is false where it is not told of every partition.
func (f *TopicFacts) OldestAge(now time.Time) (time.Duration, bool) {
	stamp, _, found := f.oldest()
	if !found {
		return 0, f.OldestTold
	}
	return max(now.Sub(stamp), 0), f.OldestTold
}

// span writes a duration as people say it: 7d, 1h30m, 4.2s.
func span(d time.Duration) string {
	switch {
	case d == 1<<63-1:
		return "for ever"
	case d >= 48*time.Hour && d%(24*time.Hour) == 0:
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	case d > time.Minute:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Millisecond)
	}
	text := d.String()
	if d >= time.Minute {
		text = strings.TrimSuffix(text, "0s")
	}
	if d >= time.Hour {
		text = strings.TrimSuffix(text, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(text, "h0m")]
	}
	return text
}
