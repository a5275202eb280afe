package kafkain

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Enforcer changes topics: their settings, and where their logs begin. Its user
// needs AlterConfigs and Delete on the topics, besides what an Inspector's may.
type Enforcer struct{ *Inspector }

// NewEnforcer checks the configuration and connects to nothing.
func NewEnforcer(config Config) (*Enforcer, error) {
	i, err := NewInspector(config)
	if err != nil {
		return nil, err
	}
	return &Enforcer{i}, nil
}

// Position is where everybody is in a partition.
type Position struct {
	Start     int64 // the first offset that is still readable
	Expired   int64 // everything below has a stamp before the time that was asked for
	Committed int64 // by the group that was asked for; -1: nothing
	Held      int64 // the first offset that another group has not read yet; math.MaxInt64: there is none
}

var errGroupsUntold = errors.New("not every group's offsets are told")

// Positions tells where the topic's partitions expired before a time, and how far
// each group has read. It fails unless it knows of every group.
func (e *Enforcer) Positions(ctx context.Context, topic, group string, before time.Time) (map[int32]Position, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	starts, err := e.admin.kadm.ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking for the log starts: %w", err)
	}
	// The ends come first: a record that arrives between the two questions is new,
	// and must not pass for the last of the expired ones.
	ends, err := e.admin.kadm.ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking for the log ends: %w", err)
	}
	after, err := e.admin.kadm.ListOffsetsAfterMilli(ctx, before.UnixMilli(), topic)
	if err != nil {
		return nil, fmt.Errorf("asking for what has expired: %w", err)
	}
	positions := map[int32]Position{}
	for number, start := range starts[topic] {
		end, endTold := ends.Lookup(topic, number)
		living, livingTold := after.Lookup(topic, number)
		if err := errors.Join(start.Err, end.Err, living.Err); err != nil || !endTold || !livingTold {
			return nil, fmt.Errorf("asking for the offsets of partition %d: %w", number, err)
		}
		positions[number] = Position{start.Offset, min(end.Offset, living.Offset), -1, math.MaxInt64}
	}
	return positions, e.readers(ctx, topic, group, positions)
}

// readers adds how far the groups have read.
func (e *Enforcer) readers(ctx context.Context, topic, ours string, positions map[int32]Position) error {
	listed, err := e.admin.kadm.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("listing the groups: %w", err)
	}
	names := listed.Groups()
	if len(names) > maxGroups || !e.seesCluster(ctx) {
		return errGroupsUntold
	}
	fetched := e.admin.kadm.FetchManyOffsets(ctx, names...)
	for _, name := range names {
		answer, told := fetched[name]
		if !told || answer.Err != nil {
			return errGroupsUntold
		}
		offsets := answer.Fetched[topic]
		switch {
		case name == ours:
			for number, offset := range offsets {
				if p, known := positions[number]; known && offset.Err == nil {
					p.Committed = offset.At
					positions[number] = p
				}
			}
		case len(offsets) > 0 || e.mayRead(ctx, listed[name], topic):
			hold(positions, offsets)
		}
	}
	return nil
}

// hold keeps what a group has not committed; of a partition of which it has
// committed nothing, that is everything.
func hold(positions map[int32]Position, offsets map[int32]kadm.OffsetResponse) {
	for number, p := range positions {
		at := p.Start
		if offset, told := offsets[number]; told && offset.Err == nil && offset.At >= 0 {
			at = offset.At
		}
		p.Held = min(p.Held, at)
		positions[number] = p
	}
}

// mayRead reports whether a group that has committed nothing may be reading the
// topic all the same. A group of a kind that can't be described may.
func (e *Enforcer) mayRead(ctx context.Context, group kadm.ListedGroup, topic string) bool {
	if group.State == "Empty" || group.State == "Dead" {
		return false
	}
	described, err := e.admin.kadm.DescribeGroups(ctx, group.Group)
	if err != nil {
		return true
	}
	detail, told := described[group.Group]
	if !told || detail.Err != nil || len(detail.Members) == 0 {
		return true
	}
	for _, member := range detail.Members {
		joined, readable := member.Join.AsConsumer()
		if !readable || slices.Contains(joined.Topics, topic) {
			return true
		}
	}
	return false
}

// SetTopic sets some settings of a topic, and leaves the others alone.
func (e *Enforcer) SetTopic(ctx context.Context, topic string, settings map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	changes := make([]kadm.AlterConfig, 0, len(settings))
	for name, value := range settings {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := e.admin.kadm.AlterTopicConfigs(ctx, changes, topic)
	for _, answer := range answers {
		err = errors.Join(err, answer.Err)
	}
	if err != nil {
		return fmt.Errorf("setting topic %s: %w", topic, err)
	}
	return nil
}

// DeleteRecords makes what is before the given offsets unreadable, by partition.
func (e *Enforcer) DeleteRecords(ctx context.Context, topic string, before map[int32]int64) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var offsets kadm.Offsets
	for number, at := range before {
		offsets.AddOffset(topic, number, at, -1)
	}
	answers, err := e.admin.kadm.DeleteRecords(ctx, offsets)
	err = errors.Join(err, answers.Error())
	if err != nil {
		return fmt.Errorf("deleting records of topic %s: %w", topic, err)
	}
	return nil
}
