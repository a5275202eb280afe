package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/redisconn/redistest"
)

// testCompact has the compact role, with the access lists that are shipped and nothing
// more, move closed epochs into the cold tier. The first compactor is killed at its work.
func testCompact(t *testing.T, kafka *kafkatest.Cluster) {
	const events, partitions, accounts = 60_000, 2, 20
	s := newE2E(t, kafka, 4*time.Minute, "connections")
	s.Config["policies"].([]map[string]any)[0]["epoch"] = "5s"
	s.Config["compact"] = map[string]any{"grace": "1s", "every": "100ms", "min_window": "0s"}
	kafka.CreateTopic(t, s.topic(), partitions, nil)
	desk := s.Start(t, "desk")
	s.Start(t, "warden")
	ingest := s.Start(t, "ingest")
	kafka.Produce(t, s.topic(), kgo.SnappyCompression(), compactEvents(events, partitions, accounts)...)
	awaitStored(t, ingest, events)
	if hot, cold := s.tiers(t); hot == 0 || cold > 0 {
		t.Fatalf("%d hot frames and %d cold blocks before there is a compactor", hot, cold)
	}
	checkCompacted(t, desk, events, accounts)

	restore := s.as(t, "compactor")
	first := s.Start(t, "compact")
	mayflytest.Eventually(t, "the first compactor has begun", func() bool {
		_, cold := s.tiers(t)
		return cold > 0
	})
	first.Kill()
	checkCompacted(t, desk, events, accounts)
	second := s.Start(t, "compact")
	restore()
	mayflytest.Eventually(t, "nothing is hot", func() bool {
		second.MustRun(t)
		hot, _ := s.tiers(t)
		return hot == 0
	})
	checkCompacted(t, desk, events, accounts)
	for _, p := range []*mayflytest.Process{first, second} {
		if strings.Contains(p.Log(), "NOPERM") {
			t.Error("the role lacks a right that it uses")
		}
	}
}

// compactEvents are e2eEvents of the last twenty seconds: of four or five epochs.
func compactEvents(n, partitions, accounts int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	now := time.Now()
	for i := range records {
		records[i] = &kgo.Record{
			Partition: int32(i % partitions),
			Value: fmt.Appendf(nil, `{"time":%d,"account":"account-%d","ip":"198.51.100.%d","port":%d,"session":"s%d"}`,
				now.Add(-time.Duration(i%20_000)*time.Millisecond).UnixMilli(), i%accounts, i%256, i, i),
		}
	}
	return records
}

// checkCompacted finds each event of some addresses, of a prefix and of some accounts once.
func checkCompacted(t *testing.T, desk *mayflytest.Process, events, accounts int) {
	t.Helper()
	for _, last := range []int{0, 7, 255} {
		result := desk.LookWhole(t, lookup.Request{IP: fmt.Sprint("198.51.100.", last)})
		if want := (events-last-1)/256 + 1; len(result.Events) != want {
			t.Errorf("%d events of an address, want %d", len(result.Events), want)
		}
	}
	want := 0
	for i := range events {
		if i%256 < 4 {
			want++
		}
	}
	if result := desk.LookWhole(t, lookup.Request{Prefix: "198.51.100.0/30"}); len(result.Events) != want {
		t.Errorf("%d events of a prefix, want %d", len(result.Events), want)
	}
	for _, account := range []int{0, accounts - 1} {
		checkAccount(t, desk, account, accounts, events)
	}
}

// tiers counts the frames of the hot tier and the blocks of the cold one.
func (s *e2eSystem) tiers(t *testing.T) (hot, cold int) {
	t.Helper()
	client := s.Data.Client(t)
	defer func() { _ = client.Close() }()
	for _, key := range client.Keys(t.Context(), "mayfly:{*").Val() {
		switch client.Type(t.Context(), key).Val() {
		case "list":
			hot += int(client.LLen(t.Context(), key).Val())
		case "hash":
			for _, field := range client.HKeys(t.Context(), key).Val() {
				if strings.HasPrefix(field, "b/") {
					cold++
				}
			}
		}
	}
	return hot, cold
}

// as has the processes that start from now on known by a role's users of the access lists
// that are shipped, until restore.
func (s *e2eSystem) as(t *testing.T, role string) (restore func()) {
	t.Helper()
	keyring, data := s.Section("keyring"), s.Config["redis"]
	const password = "secret"
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	allow := func(server *redistest.Server, list string) {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", list))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rules := strings.Fields(line); len(rules) > 2 && rules[1] == role {
				if err := server.Client(t).ACLSetUser(t.Context(), role, append(rules[2:], ">"+password)...).Err(); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatalf("%s has no %s", list, role)
	}
	allow(s.Data, "data.acl")
	nodes := make([]string, len(s.Keys))
	for i, server := range s.Keys {
		allow(server, "keyring.acl")
		nodes[i] = strings.Replace(server.URL(), "redis://", "redis://"+role+":"+password+"@", 1)
	}
	s.Config["redis"] = map[string]any{"addrs": []string{s.Data.Addr}, "username": role, "password_file": file}
	s.Config["keyring"] = map[string]any{"nodes": nodes, "kek_file": keyring["kek_file"]}
	return func() { s.Config["keyring"], s.Config["redis"] = keyring, data }
}
