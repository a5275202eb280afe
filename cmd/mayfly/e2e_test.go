package main

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
)

// TestEndToEnd runs mayfly's commands on one real Kafka and on Redis servers of each test's own.
func TestEndToEnd(t *testing.T) {
	t.Parallel()
	kafka := kafkatest.StartOwn(t)
	for name, test := range map[string]func(*testing.T, *kafkatest.Cluster){
		"sshd-log":        testSSHDLog,
		"secrecy":         testSecrecy,
		"kill":            testKill,
		"compact":         testCompact,
		"redis-away":      testRedisAway,
		"redis-paused":    testRedisPaused,
		"drain":           testDrain,
		"canary":          testCanary,
		"sealed-canary":   testSealedCanary,
		"planted":         testPlanted,
		"foreign-clients": testForeignClients,
		"sealed":          testSealed,
		"wardens":         testWardens,
		"metrics":         testMetrics,
		"tally":           testTally,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, kafka)
		})
	}
}

// testKill kills an ingest twice in the middle of its work, with a rebalance between.
func testKill(t *testing.T, kafka *kafkatest.Cluster) {
	const events, partitions, accounts = 200_000, 4, 40
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), partitions, nil)
	kafka.Produce(t, s.topic(), kgo.ZstdCompression(), e2eEvents(0, events, partitions, accounts)...)
	// Small steps, so that a kill comes in the middle.
	s.Section("kafka")["fetch_bytes"] = 64 << 10
	s.Section("ingest")["memory"] = 1 << 20
	s.Section("ingest")["linger"] = "50ms"
	desk := s.Start(t, "desk")
	s.Start(t, "warden")

	first := s.Start(t, "ingest")
	awaitStored(t, first, events/20)
	first.Kill()
	members := s.members(t)
	s.evict(t, members...)

	second := s.Start(t, "ingest")
	awaitStored(t, second, events/20)
	members = s.members(t)
	third := s.Start(t, "ingest")
	mayflytest.Eventually(t, "both have partitions", func() bool {
		return second.Metric("mayfly_kafka_assigned_partitions") == 2 && third.Metric("mayfly_kafka_assigned_partitions") == 2
	})
	second.Kill()
	s.evict(t, members...)

	mayflytest.Eventually(t, "all is committed", func() bool {
		third.MustRun(t)
		committed, end := s.committed(t)
		return committed == end
	})
	for account := range accounts {
		checkAccount(t, desk, account, accounts, events)
	}
}

// checkAccount looks an account up and expects each of its events once.
func checkAccount(t *testing.T, desk *mayflytest.Process, account, accounts, events int) {
	t.Helper()
	found := map[string]int{}
	for _, e := range desk.LookWhole(t, lookup.Request{Account: "account-" + itoa(account)}).Events {
		found[e.Session]++
	}
	missing, twice := 0, 0
	for number := account; number < events; number += accounts {
		switch found["s"+itoa(number)] {
		case 0:
			missing++
		case 1:
		default:
			twice++
		}
	}
	if missing > 0 || twice > 0 || len(found) != events/accounts {
		t.Errorf("account %d: %d events found, %d missing, %d twice", account, len(found), missing, twice)
	}
}

func awaitStored(t *testing.T, p *mayflytest.Process, n float64) {
	t.Helper()
	mayflytest.Eventually(t, "events are stored", func() bool {
		p.MustRun(t)
		return p.Metric(`mayfly_ingest_events_total{result="stored"}`) >= n
	})
}

// members lists the ids of the group's members.
func (s *e2eSystem) members(t *testing.T) (ids []string) {
	t.Helper()
	groups, err := s.Kafka.Admin(t).DescribeGroups(t.Context(), s.group)
	if err != nil {
		t.Fatal(err)
	}
	for _, member := range groups[s.group].Members {
		ids = append(ids, member.MemberID)
	}
	return ids
}

// evict removes dead members, as the broker does by itself when their session has timed out.
func (s *e2eSystem) evict(t *testing.T, ids ...string) {
	t.Helper()
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group = s.group
	for _, id := range ids {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = id
		request.Members = append(request.Members, member)
	}
	response, err := request.RequestWith(t.Context(), s.Kafka.Client(t))
	if err != nil || response.ErrorCode != 0 {
		t.Fatalf("evicting dead members: %v", err)
	}
}

// testRedisAway starts mayfly without its Redis, and takes it away again later.
func testRedisAway(t *testing.T, kafka *kafkatest.Cluster) {
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(0, 500, 2, 10)...)
	s.Data.Kill()
	p := s.Start(t, "run")
	p.AwaitNotReady(t, "redis")
	p.AwaitNotReady(t, "ingest")
	p.AwaitLog(t, `"msg":"ingest waits and tries again"`)
	s.Data.Run(t)
	p.AwaitFound(t, everybody, 500)
	p.AwaitReady(t)

	s.Data.Kill()
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(500, 500, 2, 10)...)
	p.AwaitNotReady(t, "redis")
	p.AwaitNotReady(t, "ingest")
	s.Data.Run(t)
	p.AwaitFound(t, everybody, 1000)
	p.AwaitLog(t, "redis was restarted or has failed over: reading the last events again")
	p.AwaitReady(t)
	mayflytest.Eventually(t, "all is committed", func() bool {
		committed, end := s.committed(t)
		return committed == end
	})
	p.AwaitFound(t, everybody, 1000)
	if err := p.Terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// testRedisPaused stops Redis in the middle, so that connections hang instead of failing.
func testRedisPaused(t *testing.T, kafka *kafkatest.Cluster) {
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(0, 500, 2, 10)...)
	p := s.Start(t, "run")
	p.AwaitFound(t, everybody, 500)

	info, err := s.Data.Client(t).InfoMap(context.Background()).Result()
	if err != nil {
		t.Fatal(err)
	}
	redis := atoi(t, info["Server"]["process_id"])
	if err := syscall.Kill(redis, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(redis, syscall.SIGCONT) })
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(500, 500, 2, 10)...)
	began := time.Now()
	if p.NotReady(t)["redis"] == "" || time.Since(began) > 3*time.Second {
		t.Errorf("readyz does not say within %v that redis hangs", time.Since(began))
	}
	for time.Since(began) < 4*time.Second { // longer than a command may take
		p.AwaitNotReady(t, "redis")
	}
	if err := syscall.Kill(redis, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.AwaitFound(t, everybody, 1000)
	p.AwaitReady(t)
	if n := p.Metric("mayfly_ingest_rewinds_total"); n != 0 {
		t.Errorf("%v rewinds although nothing was lost", n)
	}
}

// TestKafkaAwayEndToEnd starts mayfly without its Kafka, and takes it away again later.
func TestKafkaAwayEndToEnd(t *testing.T) {
	t.Parallel()
	kafka := kafkatest.StartOwn(t)
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(0, 500, 2, 10)...)
	kafka.Stop(t)
	p := s.Start(t, "run")
	p.AwaitNotReady(t, "kafka")
	p.AwaitLog(t, `"msg":"kafka does not work: retrying"`)
	kafka.StartAgain(t)
	p.AwaitFound(t, everybody, 500)
	p.AwaitReady(t)

	members := s.members(t)
	kafka.Kill(t)
	p.AwaitNotReady(t, "kafka")
	p.LookWhole(t, everybody) // what is stored is found without Kafka
	kafka.StartAgain(t)
	s.evict(t, members...) // it has missed their leaving
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(500, 500, 2, 10)...)
	p.AwaitFound(t, everybody, 1000)
	p.AwaitReady(t)
	if err := p.Terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// testDrain ends an ingest that has read everything and would store it much later.
func testDrain(t *testing.T, kafka *kafkatest.Cluster) {
	const events = 5000
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 3, nil)
	s.Config["ingest"] = map[string]any{"linger": "1m", "commit_delay": "0s"}
	desk := s.Start(t, "desk")
	s.Start(t, "warden").AwaitReady(t)
	p := s.Start(t, "ingest")
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), e2eEvents(0, events, 3, 10)...)
	mayflytest.Eventually(t, "all is read", func() bool { return p.Metric("mayfly_kafka_records_total") == events })
	if n := p.Metric(`mayfly_ingest_events_total{result="stored"}`); n != 0 {
		t.Errorf("%v events are stored before the linger is over", n)
	}
	if err := p.Terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if committed, end := s.committed(t); committed != events || end != events {
		t.Errorf("committed %d of %d", committed, end)
	}
	desk.AwaitFound(t, everybody, events)

	next := s.Start(t, "ingest")
	mayflytest.Eventually(t, "the next ingest has the partitions", func() bool { return next.Metric("mayfly_kafka_assigned_partitions") == 3 })
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), e2eEvents(events, 3, 3, 10)...)
	mayflytest.Eventually(t, "it reads on", func() bool { return next.Metric("mayfly_kafka_records_total") >= 3 })
	if n := next.Metric("mayfly_kafka_records_total"); n != 3 {
		t.Errorf("%v records are read again", n-3)
	}
	if err := next.Terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	desk.AwaitFound(t, everybody, events+3)
}
