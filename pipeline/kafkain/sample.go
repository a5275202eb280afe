package kafkain

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/retention/seal"
)

// sampled is how many of a partition's newest records are looked at.
const sampled = 16

// sample looks at the newest records of each partition of a topic that is to have
// sealed batches alone. It reads the first byte of each, joins no group and commits
// nothing. What it reads is not kept.
func (i *Inspector) sample(ctx context.Context, s *TopicState) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	starts, err := i.admin.kadm.ListStartOffsets(ctx, s.Name)
	if err != nil {
		return
	}
	ends, err := i.admin.kadm.ListEndOffsets(ctx, s.Name)
	if err != nil {
		return
	}
	from, open := map[int32]kgo.Offset{}, map[int32]int64{} // the partitions that are not read to their end
	for number, start := range starts[s.Name] {
		end, told := ends.Lookup(s.Name, number)
		if start.Err != nil || !told || end.Err != nil {
			return
		}
		if start.Offset < end.Offset {
			from[number], open[number] = kgo.NewOffset().At(max(start.Offset, end.Offset-sampled)), end.Offset
		}
	}
	if len(open) > 0 && !i.read(ctx, s, from, open) {
		return
	}
	s.SampleTold = s.Partitions > 0 && len(starts[s.Name]) == s.Partitions
}

// read counts the records from the given offsets up to the ends in open.
func (i *Inspector) read(ctx context.Context, s *TopicState, from map[int32]kgo.Offset, open map[int32]int64) bool {
	client, err := kgo.NewClient(append(i.security.franz(), kgo.SeedBrokers(i.brokers...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.Name: from}),
		kgo.KeepControlRecords(), kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.MaxConcurrentFetches(1))...)
	if err != nil {
		return false
	}
	defer client.Close()
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		if fetches.Err0() != nil || len(fetches.Errors()) > 0 {
			return false
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, reading := open[r.Partition]
			if !reading || r.Offset >= end {
				delete(open, r.Partition)
				return
			}
			if !r.Attrs.IsControl() {
				s.Sampled++
				if !seal.IsBatch(r.Value) {
					s.Plain++
				}
			}
			if r.Offset == end-1 {
				delete(open, r.Partition)
			}
		})
	}
	return true
}
