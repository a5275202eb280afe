package main

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

// TestDoctorNamesServers ails one real server at a time. The doctor names it and says how
// to mend it; and where a test does so, it is content.
func TestDoctorNamesServers(t *testing.T) {
	t.Parallel()
	kafka := kafkatest.Start(t)
	for name, test := range map[string]func(*testing.T, *patient){
		"a replica of a node":   testDoctorReplica,
		"a node is a replica":   testDoctorIsReplica,
		"a node is ahead":       func(t *testing.T, p *patient) { p.skewedNode(t, 10*time.Second, "10s ahead of this machine") },
		"a node is behind":      func(t *testing.T, p *patient) { p.skewedNode(t, -10*time.Second, "10s behind this machine") },
		"the data is ahead":     testDoctorDataAhead,
		"CONFIG is not allowed": testDoctorNoConfig,
		"INFO is not allowed":   testDoctorNoInfo,
		"plain events":          testDoctorPlainEvents,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newPatient(t, kafka, soundTopic))
		})
	}
}

// says runs the doctor as people read it: a row with where and what it saw, and under it the mend.
func (p *patient) says(t *testing.T, code int, where, saw, mend string) {
	t.Helper()
	got, text, stderr := p.doctor(t)
	lines := strings.Split(text, "\n")
	for i, line := range lines[:len(lines)-1] {
		if strings.Contains(line, where) && strings.Contains(line, saw) && strings.Contains(lines[i+1], "→ "+mend) {
			if got != code {
				t.Errorf("exit code %d, want %d: %s", got, code, stderr)
			}
			return
		}
	}
	t.Errorf("no line says of %s: %s → %s\n%s%s", where, saw, mend, text, stderr)
}

func host(url string) string { return strings.TrimSuffix(strings.TrimPrefix(url, "redis://"), "/0") }

// replicaOf starts a replica and waits until it has everything.
func replicaOf(t *testing.T, url string) *redistest.Server {
	t.Helper()
	at, port, err := net.SplitHostPort(host(url))
	if err != nil {
		t.Fatal(err)
	}
	replica := redistest.Start(t, "--replicaof", at+" "+port, "--slowlog-max-len", "0")
	mayflytest.Eventually(t, "the replica is in sync", func() bool {
		info, err := replica.Client(t).Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	return replica
}

func testDoctorReplica(t *testing.T, p *patient) {
	server := redistest.Start(t, "--slowlog-max-len", "0")
	p.nodes[1] = server.URL()
	replica := replicaOf(t, p.nodes[1])
	where := "keyring 1 (" + server.Addr + ")"
	p.says(t, 1, where, "1 connected", "detach it and destroy its dump.rdb and append-only file")

	replica.Kill() // what it has copied it has
	mayflytest.Eventually(t, "the replica is gone", func() bool {
		info, err := server.Client(t).Info(t.Context(), "replication").Result()
		return err == nil && strings.Contains(info, "connected_slaves:0")
	})
	p.says(t, 1, where, "full copies taken since the server started: 1", "find the replica, detach it")
	if err := server.Client(t).ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.expect(t, 0, 2, seen{})
}

func testDoctorIsReplica(t *testing.T, p *patient) {
	replica := replicaOf(t, p.node(t))
	p.nodes[0] = replica.URL()
	p.expect(t, 1, 0, seen{"keyring replicas": keyring.Fail})
	p.says(t, 1, "keyring 0 ("+replica.Addr+")", "it is itself a replica", "REPLICAOF NO ONE")
	if err := replica.Client(t).Do(t.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		t.Fatal(err)
	}
	p.expect(t, 0, 2, seen{})
}

func (p *patient) skewedNode(t *testing.T, ahead time.Duration, saw string) {
	t.Helper()
	server, clock := redistest.StartSkewed(t, ahead, "--slowlog-max-len", "0")
	p.nodes[1] = server.URL()
	p.expect(t, 1, 0, seen{"keyring clock": keyring.Fail})
	by, word, _ := strings.Cut(saw, " ")
	p.says(t, 1, "keyring 1 ("+server.Addr+")", word, "set the clocks of both (NTP): keys die by the server's clock, and more than ingest.skew, 5s, is too much")
	if _, text, _ := p.doctor(t); !strings.Contains(text, by[:1]) {
		t.Errorf("it does not say by how much:\n%s", text)
	}
	clock.Set(t, 0)
	p.expect(t, 0, 2, seen{})
}

func testDoctorDataAhead(t *testing.T, p *patient) {
	server, clock := redistest.StartSkewed(t, 10*time.Second)
	p.data = server.Addr
	p.expect(t, 1, 0, seen{"redis clock": keyring.Fail})
	p.says(t, 1, "redis data", "ahead of this machine", "set the clocks of both (NTP)")
	clock.Set(t, 0)
	p.expect(t, 0, 2, seen{})
}

// user makes a user that may say so much to a node, and has the doctor be that user.
func (p *patient) user(t *testing.T, node int, server *redistest.Server, allowed ...any) {
	t.Helper()
	rules := append([]any{"ACL", "SETUSER", "doctor", "reset", "on", ">sesame", "%R~*", "-@all"}, allowed...)
	if err := server.Client(t).Do(t.Context(), rules...).Err(); err != nil {
		t.Fatal(err)
	}
	p.nodes[node] = "redis://doctor:sesame@" + server.Addr + "/0"
}

func testDoctorNoConfig(t *testing.T, p *patient) {
	server := redistest.Start(t, "--slowlog-max-len", "0")
	p.user(t, 1, server, "+hello", "+ping", "+time", "+info")
	p.expect(t, 3, 1, seen{"keyring snapshots": keyring.Unattested, "keyring slow log": keyring.Unattested})
	p.says(t, 3, "keyring 1 ("+server.Addr+")", "the save points are not told", "allow CONFIG GET (+config|get) to Mayfly's user")
	p.user(t, 1, server, "+hello", "+ping", "+time", "+info", "+config|get")
	p.expect(t, 0, 2, seen{})
}

func testDoctorNoInfo(t *testing.T, p *patient) {
	server := redistest.Start(t, "--slowlog-max-len", "0")
	p.user(t, 0, server, "+hello", "+ping", "+config|get")
	p.expect(t, 3, 1, seen{
		"keyring clock": keyring.Unattested, "keyring version": keyring.Unattested, "keyring eviction": keyring.Unattested,
		"keyring standalone": keyring.Unattested, "keyring append-only file": keyring.Unattested, "keyring snapshots": keyring.Unattested,
		"keyring replicas": keyring.Unattested, "keyring several nodes": keyring.Unattested, "keyring apart from the data": keyring.Unattested,
	})
	where := "keyring 0 (" + server.Addr + ")"
	p.says(t, 3, where, "its time is not told", "allow TIME to Mayfly's user")
	p.says(t, 3, where, "its version is not told", "allow INFO to Mayfly's user")
}

// Plain events on a topic that is to have sealed batches alone are refused; their
// addresses lie there all the same.
func testDoctorPlainEvents(t *testing.T, p *patient) {
	p.sealed = true
	write := func(value string, n int) {
		t.Helper()
		var records []*kgo.Record
		for i := range n {
			records = append(records, &kgo.Record{Partition: int32(i % 2), Value: []byte(value)})
		}
		p.kafka.Produce(t, p.topic, kgo.NoCompression(), records...)
	}
	p.expect(t, 0, 2, seen{})
	write("\xf5 sealed", 40)
	write(`{"ip":"192.0.2.1"}`, 3)
	p.expect(t, 0, 2, seen{"kafka sealed only": keyring.Warn})
	p.says(t, 0, "kafka topic "+p.topic, "3 of its 32 newest records are plain", "find who writes them, and have it write through mayfly relay")
	p.sealed = false
	p.expect(t, 0, 2, seen{})
	p.sealed = true
	write("\xf5 sealed", 40)
	p.expect(t, 0, 2, seen{})
}
