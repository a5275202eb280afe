package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
)

// e2eSystem has topics of its own, and one policy for all events.
type e2eSystem struct {
	*mayflytest.System
	topics []string
	group  string
}

// newE2E starts the Redis servers and names the topics after the test.
func newE2E(t *testing.T, kafka *kafkatest.Cluster, window time.Duration, topics ...string) *e2eSystem {
	t.Helper()
	s := &e2eSystem{System: mayflytest.New(t, "mayfly", kafka), group: strings.NewReplacer("/", "-").Replace(t.Name())}
	for _, topic := range topics {
		s.topics = append(s.topics, s.group+"-"+topic)
	}
	s.Section("kafka")["topics"], s.Section("kafka")["group"] = s.topics, s.group
	s.Section("warden")["shards"] = 3
	s.Config["policies"] = []map[string]any{{"name": "all", "window": window.String(), "basis": "test"}}
	return s
}

func (s *e2eSystem) topic() string { return s.topics[0] }

// run runs a command to its end.
func (s *e2eSystem) run(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := s.Command(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("mayfly %s: %v: %s", args[0], err, stderr.String())
	}
	return out
}

// committed gives the group's offsets and the logs' ends, summed over partitions.
func (s *e2eSystem) committed(t *testing.T) (committed, end int64) {
	t.Helper()
	admin := s.Kafka.Admin(t)
	offsets, err := admin.FetchOffsets(t.Context(), s.group)
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { committed += max(o.At, 0) })
	ends, err := admin.ListEndOffsets(t.Context(), s.topics...)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { end += o.Offset })
	return committed, end
}

// e2eEvents makes n events of the last minute, numbered by their session,
// spread over partitions, addresses of 198.51.100.0/24 and accounts account-0 to account-(accounts-1).
func e2eEvents(from, n, partitions, accounts int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	now := time.Now()
	for i := range records {
		number := from + i
		records[i] = &kgo.Record{
			Partition: int32(number % partitions),
			Value: fmt.Appendf(nil, `{"time":%d,"account":"account-%d","ip":"198.51.100.%d","port":%d,"session":"s%d"}`,
				now.Add(-time.Duration(number%60_000)*time.Millisecond).UnixMilli(), number%accounts, number%256, number%60_000, number),
		}
	}
	return records
}

// everybody is the look-up of all that e2eEvents makes.
var everybody = lookup.Request{Prefix: "198.51.100.0/24"}
