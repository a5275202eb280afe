package main

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"mayfly/abuse/lookup"
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
	s.config["kafka"].(map[string]any)["fetch_bytes"] = 64 << 10
	s.config["ingest"].(map[string]any)["memory"] = 1 << 20
	s.config["ingest"].(map[string]any)["linger"] = "50ms"
	desk := s.start(t, "desk")
	s.start(t, "warden")

	first := s.start(t, "ingest")
	awaitStored(t, first, events/20)
	first.kill()
	members := s.members(t)
	s.evict(t, members...)

	second := s.start(t, "ingest")
	awaitStored(t, second, events/20)
	members = s.members(t)
	third := s.start(t, "ingest")
	e2eEventually(t, "both have partitions", func() bool {
		return second.metric("mayfly_kafka_assigned_partitions") == 2 && third.metric("mayfly_kafka_assigned_partitions") == 2
	})
	second.kill()
	s.evict(t, members...)

	e2eEventually(t, "all is committed", func() bool {
		third.mustRun(t)
		committed, end := s.committed(t)
		return committed == end
	})
	for account := range accounts {
		checkAccount(t, desk, account, accounts, events)
	}
}

// checkAccount looks an account up and expects each of its events once.
func checkAccount(t *testing.T, desk *e2eProcess, account, accounts, events int) {
	t.Helper()
	found := map[string]int{}
	for _, e := range desk.look(t, lookup.Request{Account: "account-" + itoa(account)}).Events {
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

func awaitStored(t *testing.T, p *e2eProcess, n float64) {
	t.Helper()
	e2eEventually(t, "events are stored", func() bool {
		p.mustRun(t)
		return p.metric(`mayfly_ingest_events_total{result="stored"}`) >= n
	})
}

// members lists the ids of the group's members.
func (s *e2eSystem) members(t *testing.T) (ids []string) {
	t.Helper()
	groups, err := s.kafka.Admin(t).DescribeGroups(t.Context(), s.group)
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
	response, err := request.RequestWith(t.Context(), s.kafka.Client(t))
	if err != nil || response.ErrorCode != 0 {
		t.Fatalf("evicting dead members: %v", err)
	}
}

// testRedisAway starts mayfly without its Redis, and takes it away again later.
func testRedisAway(t *testing.T, kafka *kafkatest.Cluster) {
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(0, 500, 2, 10)...)
	s.data.Kill()
	p := s.start(t, "run")
	p.awaitNotReady(t, "redis")
	p.awaitNotReady(t, "ingest")
	p.awaitLog(t, `"msg":"ingest waits and tries again"`)
	s.data.Run(t)
	p.awaitEvents(t, everybody, 500)
	p.awaitReady(t)

	s.data.Kill()
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(500, 500, 2, 10)...)
	p.awaitNotReady(t, "redis")
	p.awaitNotReady(t, "ingest")
	s.data.Run(t)
	p.awaitEvents(t, everybody, 1000)
	p.awaitLog(t, "redis was restarted or has failed over: reading the last events again")
	p.awaitReady(t)
	e2eEventually(t, "all is committed", func() bool {
		committed, end := s.committed(t)
		return committed == end
	})
	p.awaitEvents(t, everybody, 1000)
	if err := p.terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func (p *e2eProcess) awaitLog(t *testing.T, text string) {
	t.Helper()
	e2eEventually(t, "a log line: "+text, func() bool {
		p.mustRun(t)
		return strings.Contains(p.log.String(), text)
	})
}

// testRedisPaused stops Redis in the middle, so that connections hang instead of failing.
func testRedisPaused(t *testing.T, kafka *kafkatest.Cluster) {
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(0, 500, 2, 10)...)
	p := s.start(t, "run")
	p.awaitEvents(t, everybody, 500)

	info, err := s.data.Client(t).InfoMap(context.Background()).Result()
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
	if p.notReady(t)["redis"] == "" || time.Since(began) > 3*time.Second {
		t.Errorf("readyz does not say within %v that redis hangs", time.Since(began))
	}
	for time.Since(began) < 4*time.Second { // longer than a command may take
		p.awaitNotReady(t, "redis")
	}
	if err := syscall.Kill(redis, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	p.awaitEvents(t, everybody, 1000)
	p.awaitReady(t)
	if n := p.metric("mayfly_ingest_rewinds_total"); n != 0 {
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
	p := s.start(t, "run")
	p.awaitNotReady(t, "kafka")
	p.awaitLog(t, `"msg":"kafka does not work: retrying"`)
	kafka.StartAgain(t)
	p.awaitEvents(t, everybody, 500)
	p.awaitReady(t)

	members := s.members(t)
	kafka.Kill(t)
	p.awaitNotReady(t, "kafka")
	p.look(t, everybody) // what is stored is found without Kafka
	kafka.StartAgain(t)
	s.evict(t, members...) // it has missed their leaving
	kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(500, 500, 2, 10)...)
	p.awaitEvents(t, everybody, 1000)
	p.awaitReady(t)
	if err := p.terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// testDrain ends an ingest that has read everything and would store it much later.
func testDrain(t *testing.T, kafka *kafkatest.Cluster) {
	const events = 5000
	s := newE2E(t, kafka, time.Hour, "connections")
	kafka.CreateTopic(t, s.topic(), 3, nil)
	s.config["ingest"] = map[string]any{"linger": "1m", "commit_delay": "0s"}
	desk := s.start(t, "desk")
	s.start(t, "warden").awaitReady(t)
	p := s.start(t, "ingest")
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), e2eEvents(0, events, 3, 10)...)
	e2eEventually(t, "all is read", func() bool { return p.metric("mayfly_kafka_records_total") == events })
	if n := p.metric(`mayfly_ingest_events_total{result="stored"}`); n != 0 {
		t.Errorf("%v events are stored before the linger is over", n)
	}
	if err := p.terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if committed, end := s.committed(t); committed != events || end != events {
		t.Errorf("committed %d of %d", committed, end)
	}
	desk.awaitEvents(t, everybody, events)

	next := s.start(t, "ingest")
	e2eEventually(t, "the next ingest has the partitions", func() bool { return next.metric("mayfly_kafka_assigned_partitions") == 3 })
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), e2eEvents(events, 3, 3, 10)...)
	e2eEventually(t, "it reads on", func() bool { return next.metric("mayfly_kafka_records_total") >= 3 })
	if n := next.metric("mayfly_kafka_records_total"); n != 3 {
		t.Errorf("%v records are read again", n-3)
	}
	if err := next.terminate(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	desk.awaitEvents(t, everybody, events+3)
}
