package kafkain

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicState is what a cluster tells of a topic. What it refuses to tell is
// absent, or not "told".
type TopicState struct {
	Name          string
	Exists        *bool
	Partitions    int                 // 0: not told
	Replicas      int                 // per partition, the fewest; 0: not told
	Config        map[string]string   // effective settings; nil: not told
	Oldest        map[int32]time.Time // stamp of each partition's first record; empty ones have none
	OldestTold    bool                // of all partitions
	Newest        time.Time           // the latest stamp of all partitions; zero where all are empty
	NewestTold    bool
	Groups        []string      // that have committed offsets of the topic
	GroupsTold    bool          // these are all groups, not only those that this user may see
	CheckInterval time.Duration // how often brokers look for segments to delete, the longest; 0: not told
	Sampled       int           // newest records that were looked at, where only sealed batches are taken
	Plain         int           // of them that are none
	SampleTold    bool          // of all partitions
}

const (
	// inspectLimit bounds one look at all topics.
	inspectLimit = 20 * time.Second
	// maxGroups bounds how many groups one look asks for their offsets.
	maxGroups = 1000
)

// Inspector asks a cluster about topics. It changes nothing: its user needs
// Describe and DescribeConfigs on the topics, and for more facts Describe on
// groups and Describe and DescribeConfigs on the cluster; where only sealed batches
// are taken also Read on the topics, to see whether others arrive.
type Inspector struct {
	admin    *admin
	security security
	brokers  []string
	sealed   bool
}

// NewInspector checks the configuration and reads the files it names; it
// connects to nothing.
func NewInspector(config Config) (*Inspector, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	s, err := newSecurity(config)
	if err != nil {
		return nil, err
	}
	a, err := newAdmin(config, s)
	if err != nil {
		return nil, fmt.Errorf("making a client of kafka: %w", err)
	}
	return &Inspector{a, s, config.Brokers, config.Sealed}, nil
}

// Close gives the connections back.
func (i *Inspector) Close() { i.admin.close() }

// Topics describes the named topics, in their order. An error means that the
// cluster does not answer at all; refusals show in the states.
func (i *Inspector) Topics(ctx context.Context, names ...string) ([]TopicState, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectLimit)
	defer cancel()
	asking, stop := context.WithTimeout(ctx, askLimit)
	defer stop()
	cluster, err := i.admin.kadm.BrokerMetadata(asking)
	if err != nil {
		return nil, fmt.Errorf("asking kafka: %w", err)
	}
	check := i.checkInterval(ctx, cluster)
	groups, told := i.groups(ctx)
	states := make([]TopicState, len(names))
	for n, name := range names {
		states[n] = TopicState{Name: name, CheckInterval: check, Groups: groups[name], GroupsTold: told}
		i.describe(ctx, &states[n])
	}
	return states, nil
}

func (i *Inspector) describe(ctx context.Context, s *TopicState) {
	metadata, err := i.admin.kadm.Metadata(ctx, s.Name)
	if err != nil {
		return // not allowed to see it
	}
	detail := metadata.Topics[s.Name]
	if detail.Err != nil {
		if errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
			s.Exists = new(false)
		}
		return
	}
	s.Exists, s.Partitions = new(true), len(detail.Partitions)
	for _, partition := range detail.Partitions {
		if n := len(partition.Replicas); s.Replicas == 0 || n < s.Replicas {
			s.Replicas = n
		}
	}
	s.Config = i.config(ctx, s.Name)
	// The first record at or after the beginning of time is the oldest; the
	// answer brings its stamp along, so that no record need be read.
	s.Oldest, s.OldestTold = stamps(i.admin.kadm.ListOffsetsAfterMilli(ctx, 0, s.Name))
	s.OldestTold = s.OldestTold && s.Partitions > 0
	latest, told := stamps(i.admin.kadm.ListMaxTimestampOffsets(ctx, s.Name))
	s.NewestTold = told && s.Partitions > 0
	for _, t := range latest {
		if t.After(s.Newest) {
			s.Newest = t
		}
	}
	if i.sealed {
		i.sample(ctx, s)
	}
}

func (i *Inspector) config(ctx context.Context, topic string) map[string]string {
	answer, err := i.admin.kadm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil
	}
	described, err := answer.On(topic, nil)
	if err != nil || described.Err != nil {
		return nil
	}
	settings := make(map[string]string, len(described.Configs))
	for _, setting := range described.Configs {
		if setting.Value != nil {
			settings[setting.Key] = *setting.Value
		}
	}
	return settings
}

// stamps gives the listed stamps by partition, and whether every partition answered.
func stamps(listed kadm.ListedOffsets, err error) (map[int32]time.Time, bool) {
	found, told := map[int32]time.Time{}, err == nil
	listed.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			told = false
		} else if o.Timestamp >= 0 {
			found[o.Partition] = time.UnixMilli(o.Timestamp)
		}
	})
	return found, told
}

func (i *Inspector) checkInterval(ctx context.Context, cluster kadm.Metadata) time.Duration {
	described, err := i.admin.kadm.DescribeBrokerConfigs(ctx, cluster.Brokers.NodeIDs()...)
	if err != nil {
		return 0
	}
	return longestCheck(described)
}

// longestCheck is the longest of the brokers' intervals, 0 where one does not tell.
func longestCheck(brokers kadm.ResourceConfigs) time.Duration {
	var longest time.Duration
	for _, broker := range brokers {
		told := false
		for _, setting := range broker.Configs {
			if setting.Key != "log.retention.check.interval.ms" {
				continue
			}
			if ms, err := strconv.ParseInt(setting.MaybeValue(), 10, 64); err == nil && ms > 0 {
				told, longest = true, max(longest, time.Duration(ms)*time.Millisecond)
			}
		}
		if !told {
			return 0
		}
	}
	return longest
}

// groups gives by topic the groups that have committed offsets of it, and
// whether these are all. Brokers leave out, without a word, the groups that one
// may not see; a user who may describe the cluster sees all.
func (i *Inspector) groups(ctx context.Context) (byTopic map[string][]string, all bool) {
	listed, err := i.admin.kadm.ListGroups(ctx)
	names := listed.Groups()
	all = err == nil && len(names) <= maxGroups && i.seesCluster(ctx)
	byTopic = map[string][]string{}
	for group, answer := range i.admin.kadm.FetchManyOffsets(ctx, names[:min(len(names), maxGroups)]...) {
		all = all && answer.Err == nil
		for topic, partitions := range answer.Fetched {
			for _, offset := range partitions {
				if offset.Err == nil && offset.At >= 0 {
					byTopic[topic] = append(byTopic[topic], group)
					break
				}
			}
		}
	}
	return byTopic, all
}

// seesCluster reports whether this user may describe the cluster.
func (i *Inspector) seesCluster(ctx context.Context) bool {
	request := kmsg.NewPtrDescribeClusterRequest()
	request.IncludeClusterAuthorizedOperations = true
	answer, err := request.RequestWith(ctx, i.admin.client)
	if err != nil || answer.ErrorCode != 0 || answer.ClusterAuthorizedOperations < 0 {
		return false // the least integer: not told
	}
	return answer.ClusterAuthorizedOperations&(1<<kmsg.ACLOperationDescribe) != 0
}
