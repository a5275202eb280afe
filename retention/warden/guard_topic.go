package warden

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mayfly/retention/keyring"
)

// Conditions of a Kafka topic.
const (
	TopicExists   keyring.Condition = "exists"
	CleanupPolicy keyring.Condition = "cleanup"
	RetentionTime keyring.Condition = "retention"
	SegmentTime   keyring.Condition = "segments"
	Timestamps    keyring.Condition = "timestamps"
	FutureStamps  keyring.Condition = "future stamps"
	TieredStorage keyring.Condition = "tiered storage"
	OldestRecord  keyring.Condition = "oldest record"
	OtherGroups   keyring.Condition = "other groups"
	SealedOnly    keyring.Condition = "sealed only"
)

// JudgeTopic judges whether the topic forgets as the policies promise. It is
// for observing: nothing is changed, and each finding says how to mend it.
func JudgeTopic(f TopicFacts, e TopicExpectations, now time.Time) []keyring.Finding {
	to := keyring.Findings{Area: keyring.AreaKafka, Subject: "topic " + f.Name}
	window := e.window(f.Name)
	switch {
	case f.Exists == nil:
		to.Add(TopicExists, keyring.Unattested, "not told", allowTopic)
	case !*f.Exists:
		to.Add(TopicExists, keyring.Warn, "it does not exist", "create it; mayfly doctor --emit prints how")
		return to.List
	default:
		to.Add(TopicExists, keyring.Pass, fmt.Sprintf("%d partitions, %d replicas", f.Partitions, f.Replicas), "")
	}
	f.judgeCleanup(&to)
	f.judgeTime(&to, RetentionTime, "retention.ms", window)
	f.judgeTime(&to, SegmentTime, "segment.ms", window)
	f.judgeStamps(&to, e.Skew, now)
	f.judgeTiers(&to)
	f.judgeOldest(&to, window, now)
	f.judgeGroups(&to, e.Group)
	if e.Sealed {
		f.judgeSealed(&to, e.PlainSeen[f.Name], window, now)
	}
	return to.List
}

const allowTopic = "allow Describe and DescribeConfigs on the topic to Mayfly's user; mayfly doctor --emit prints how"

func (f *TopicFacts) judgeCleanup(to *keyring.Findings) {
	policy, told := f.Config["cleanup.policy"]
	switch {
	case !told:
		to.Add(CleanupPolicy, keyring.Unattested, "cleanup.policy is not told", allowTopic)
	case policy == "delete":
		to.Add(CleanupPolicy, keyring.Pass, "cleanup.policy delete", "")
	case policy == "" || policy == "none":
		to.Add(CleanupPolicy, keyring.Fail, "cleanup.policy is empty: nothing is ever deleted", "set cleanup.policy=delete")
	default:
		saw := "cleanup.policy " + policy + ": a merged segment keeps old records as long as its newest"
		if lag, ok := f.milliseconds("max.compaction.lag.ms"); ok {
			saw += ", and compaction may wait " + span(lag)
		}
		to.Add(CleanupPolicy, keyring.Fail, saw, "set cleanup.policy=delete, and nothing besides")
	}
}

// judgeTime judges one of the two settings that together let a segment go.
func (f *TopicFacts) judgeTime(to *keyring.Findings, condition keyring.Condition, name string, window time.Duration) {
	value, told := f.milliseconds(name)
	if !told {
		to.Add(condition, keyring.Unattested, name+" is not told", allowTopic)
		return
	}
	if value > window {
		to.Add(condition, keyring.Fail, fmt.Sprintf("%s %s exceeds the shortest window %s", name, span(value), span(window)),
			fmt.Sprintf("set retention.ms ≤ %d, segment.ms ≤ %d", window.Milliseconds(), segment(window).Milliseconds()))
		return
	}
	to.Add(condition, keyring.Pass, fmt.Sprintf("%s %s; gone from disk within %s", name, span(value), span(f.Bound(window))), "")
}

// judgeStamps: a segment goes by the latest stamp in it, and on a CreateTime
// topic that is whatever a producer claims.
func (f *TopicFacts) judgeStamps(to *keyring.Findings, skew time.Duration, now time.Time) {
	kind := f.Config["message.timestamp.type"]
	ahead, bounded := f.milliseconds("message.timestamp.after.max.ms")
	mend := "set message.timestamp.type=LogAppendTime, or message.timestamp.after.max.ms=" + strconv.FormatInt(skew.Milliseconds(), 10)
	switch {
	case kind == "LogAppendTime":
		to.Add(Timestamps, keyring.Pass, "LogAppendTime: the broker's clock", "")
	case kind == "":
		to.Add(Timestamps, keyring.Unattested, "message.timestamp.type is not told", allowTopic)
	case bounded && ahead <= skew:
		to.Add(Timestamps, keyring.Pass, kind+", at most "+span(ahead)+" ahead", "")
	case bounded:
		to.Add(Timestamps, keyring.Warn, kind+": a producer's stamp may be "+span(ahead)+" ahead, and its segment stays as much longer", mend)
	default:
		to.Add(Timestamps, keyring.Warn, kind+": a producer's stamp may be any time ahead, and its segment stays as much longer", mend)
	}
	lead := f.Newest.Sub(now)
	switch {
	case !f.NewestTold:
		to.Add(FutureStamps, keyring.Unattested, "the latest stamp is not told", allowTopic)
	case lead > skew && kind == "LogAppendTime":
		to.Add(FutureStamps, keyring.Fail, "the latest stamp is "+span(lead)+" ahead", "set the brokers' clocks, and this machine's (NTP)")
	case lead > skew:
		to.Add(FutureStamps, keyring.Fail, "the latest stamp is "+span(lead)+" ahead: until then Kafka keeps all of its segment",
			"set the clock of the producer that writes such stamps, then "+mend)
	default:
		to.Add(FutureStamps, keyring.Pass, "none", "")
	}
}

func (f *TopicFacts) judgeTiers(to *keyring.Findings) {
	switch {
	case f.Config == nil:
		to.Add(TieredStorage, keyring.Unattested, "not told", allowTopic)
	case f.Config["remote.storage.enable"] == "true":
		to.Add(TieredStorage, keyring.Unattested, "segments are copied to a remote store, whose own versions and backups Kafka does not tell",
			"set remote.storage.enable=false with remote.log.delete.on.disable=true, or see to it that the remote store keeps nothing longer")
	default: // a broker that lacks the setting lacks the feature
		to.Add(TieredStorage, keyring.Pass, "off", "")
	}
}

// judgeOldest asks for the outcome: what the settings promise may not have come true.
func (f *TopicFacts) judgeOldest(to *keyring.Findings, window time.Duration, now time.Time) {
	oldest, partition, found := f.oldest()
	age := now.Sub(oldest)
	bound := f.Bound(window)
	switch {
	case found && age > bound:
		to.Add(OldestRecord, keyring.Fail, fmt.Sprintf("%s old, in partition %d; the bound is %s", span(age), partition, span(bound)),
			"mend the settings above; a partition that nobody writes to may need a new record before its segment is rolled")
	case !f.OldestTold:
		to.Add(OldestRecord, keyring.Unattested, "not told of every partition", allowTopic)
	case !found:
		to.Add(OldestRecord, keyring.Pass, "the topic is empty", "")
	default:
		to.Add(OldestRecord, keyring.Pass, fmt.Sprintf("%s old; the bound is %s", span(max(age, 0)), span(bound)), "")
	}
}

// judgeSealed looks for plain events where there are to be none. Ingest refuses them,
// but their addresses lie in Kafka, for as long after the last one as anybody's.
func (f *TopicFacts) judgeSealed(to *keyring.Findings, seen time.Time, window time.Duration, now time.Time) {
	const mend = "find who writes them, and have it write through mayfly relay or pipeline/edge; what is there goes with its segment"
	switch bound := f.Bound(window); {
	case f.Plain > 0:
		to.Add(SealedOnly, keyring.Warn, fmt.Sprintf("%d of its %d newest records are plain: their addresses lie in Kafka", f.Plain, f.Sampled), mend)
	case !seen.IsZero() && now.Sub(seen) < bound:
		to.Add(SealedOnly, keyring.Warn, fmt.Sprintf("plain events were among its newest records %s ago, and may lie there for %s", span(now.Sub(seen)), span(bound)), mend)
	case !f.SampleTold:
		to.Add(SealedOnly, keyring.Unattested, "its newest records could not be read",
			"allow Read on the topic to Mayfly's user; mayfly doctor --emit prints how")
	default:
		to.Add(SealedOnly, keyring.Pass, fmt.Sprintf("none of its %d newest records is plain", f.Sampled), "")
	}
}

func (f *TopicFacts) judgeGroups(to *keyring.Findings, ours string) {
	others := slices.DeleteFunc(slices.Sorted(slices.Values(f.Groups)), func(group string) bool { return group == ours })
	switch {
	case len(others) > 0:
		to.Add(OtherGroups, keyring.Warn, fmt.Sprintf("%d read it too: %s", len(others), strings.Join(others[:min(len(others), 5)], ", ")),
			"what they keep is theirs to account for; Mayfly deletes nothing of a shared topic, so the level stays below 3")
	case !f.GroupsTold:
		to.Add(OtherGroups, keyring.Unattested, "only some of the groups are told", "allow Describe on the cluster and on groups to Mayfly's user")
	default:
		to.Add(OtherGroups, keyring.Pass, "none", "")
	}
}
