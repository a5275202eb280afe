package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/receipts/audit"
)

// testTally has two ingests store events side by side, kills one of them, and compares what
// the receipts of the purges say with what was produced.
func testTally(t *testing.T, kafka *kafkatest.Cluster) {
	const events, refused, expired, partitions = 40_000, 400, 200, 4
	s := newE2E(t, kafka, 90*time.Second, "connections")
	s.Config["policies"].([]map[string]any)[0]["epoch"] = "10s"
	s.Section("kafka")["fetch_bytes"] = 64 << 10
	s.Section("ingest")["memory"] = 1 << 20
	s.Section("ingest")["linger"] = "50ms"
	kafka.CreateTopic(t, s.topic(), partitions, nil)
	warden := s.Start(t, "warden")
	warden.AwaitReady(t)

	kafka.Produce(t, s.topic(), kgo.ZstdCompression(), tallyEvents(events/2, refused/2, expired/2, partitions)...)
	first := s.Start(t, "ingest")
	awaitStored(t, first, events/20)
	members := s.members(t)
	second := s.Start(t, "ingest")
	mayflytest.Eventually(t, "both have partitions", func() bool {
		return first.Metric("mayfly_kafka_assigned_partitions") == 2 && second.Metric("mayfly_kafka_assigned_partitions") == 2
	})
	kafka.Produce(t, s.topic(), kgo.ZstdCompression(), tallyEvents(events/2, refused/2, expired/2, partitions)...)
	awaitStored(t, second, events/20)
	first.Kill()
	s.evict(t, members...)
	mayflytest.Eventually(t, "all is committed", func() bool {
		second.MustRun(t)
		committed, end := s.committed(t)
		return committed == end
	})

	var said audit.PolicyResult
	var topics []audit.TopicResult
	deadline := time.Now().Add(2*time.Minute + mayflytest.Patience)
	for said.Stored < events && time.Now().Before(deadline) {
		warden.MustRun(t)
		time.Sleep(time.Second) // an audit takes longer than a question
		if r, ok := s.audited(t); ok && len(r.Policies) == 1 {
			said, topics = r.Policies[0], r.Topics
		}
	}
	if said.Stored != events || said.Rejected != refused || said.Expired != expired || said.Uncounted > 0 || said.Partial > 0 {
		t.Errorf("the receipts say %+v", said)
	}
	if len(topics) != 1 || topics[0].Name != s.topic() || len(topics[0].Partitions) != partitions || topics[0].Missing() > 0 {
		t.Fatalf("the receipts say %+v", topics)
	}
	for _, p := range topics[0].Partitions {
		if p.First != 0 || p.Last != (events+refused+expired)/partitions-1 {
			t.Errorf("partition %d: offsets %d to %d", p.Partition, p.First, p.Last)
		}
	}
}

// tallyEvents are events of now, messages that are none, and events that are past their deadline.
func tallyEvents(events, refused, expired, partitions int) []*kgo.Record {
	records := e2eEvents(0, events+refused+expired, partitions, 10)
	for i, r := range records {
		switch {
		case i < refused:
			r.Value = []byte("no event")
		case i < refused+expired:
			r.Value = []byte(`{"time":"2020-02-02T02:02:02Z","account":"account-1","ip":"198.51.100.1"}`)
		}
	}
	now := time.Now().UnixMilli()
	for i, r := range records[refused+expired:] {
		r.Value = tallyEvent(now-int64(i%1000), i)
	}
	return records
}

func tallyEvent(at int64, number int) []byte {
	text, _ := json.Marshal(map[string]any{
		"time": at, "account": "account-" + itoa(number%10), "ip": "198.51.100." + itoa(number%256), "port": number % 60_000,
	})
	return text
}

// audited gives what mayfly audit verify makes of the warden's log, which may be growing.
func (s *e2eSystem) audited(t *testing.T) (r audit.Result, ok bool) {
	t.Helper()
	folder := filepath.Join(s.Section("desk")["receipts_dir"].(string), "warden")
	out, err := exec.Command("mayfly", "audit", "verify", folder, "--key", filepath.Join(folder, "receipts.pub"),
		"--grace", "1m", "--output", "json").Output()
	if err != nil {
		return r, false
	}
	return r, json.Unmarshal(out, &r) == nil
}
