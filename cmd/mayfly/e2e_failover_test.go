package main

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/redisconn/redistest"
)

// A master of the data Redis dies for good while events flow. What it had
// acknowledged and not yet replicated is read again from Kafka: after the
// failover each event is found once.
func TestFailoverEndToEnd(t *testing.T) {
	t.Parallel()
	kafka := kafkatest.Start(t)
	t.Run("cluster", func(t *testing.T) {
		servers, _ := redistest.StartCluster(t, 3, true)
		addrs := make([]string, len(servers))
		for i, s := range servers {
			addrs[i] = s.Addr
		}
		testFailover(t, kafka, map[string]any{"addrs": addrs}, func() { servers[0].Kill() })
	})
	t.Run("sentinel", func(t *testing.T) {
		servers, sentinels := redistest.StartSentinels(t)
		addrs := make([]string, len(sentinels))
		for i, s := range sentinels {
			addrs[i] = s.Addr
		}
		testFailover(t, kafka, map[string]any{"addrs": addrs, "sentinel_master": redistest.SentinelMaster}, func() { servers[0].Kill() })
	})
}

func testFailover(t *testing.T, kafka *kafkatest.Cluster, redis map[string]any, kill func()) {
	t.Helper()
	const events, partitions, accounts = 60_000, 4, 20
	s := newE2E(t, kafka, time.Hour, "connections")
	s.Config["redis"] = redis
	s.Section("ingest")["commit_delay"] = "3s"
	kafka.CreateTopic(t, s.topic(), partitions, nil)
	p := s.Start(t, "run")

	p.AwaitReady(t) // every living epoch has its directory, which ingest could not write anew
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), e2eEvents(0, events/2, partitions, accounts)...)
	awaitStored(t, p, events/4)
	kill()
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), e2eEvents(events/2, events/2, partitions, accounts)...)

	p.AwaitLog(t, "redis was restarted or has failed over")
	mayflytest.Eventually(t, "all is committed", func() bool {
		p.MustRun(t)
		committed, end := s.committed(t)
		return committed == end
	})
	mayflytest.Eventually(t, "nothing is missing", func() bool { return p.LookWhole(t, everybody).Complete })
	for account := range accounts {
		checkAccount(t, p, account, accounts, events)
	}
}
