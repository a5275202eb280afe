package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/mayflytest"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention/redisconn/redistest"
)

// relay starts a relay with what little it needs: a user of the keyring that reads
// public keys alone, no data Redis, and no key-encryption key.
func (s *e2eSystem) relay(t *testing.T) *mayflytest.Process {
	t.Helper()
	nodes := make([]string, len(s.Keys))
	for i, server := range s.Keys {
		client := server.Client(t)
		const user, password = "edge", "secret"
		err := client.Do(t.Context(), "ACL", "SETUSER", user, "on", ">"+password, "resetkeys", "%R~mayfly:key:public:*",
			"-@all", "+hgetall", "+hello", "+ping").Err()
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = strings.Replace(server.URL(), "redis://", "redis://"+user+":"+password+"@", 1)
		edge, err := redis.ParseURL(nodes[i])
		if err != nil {
			t.Fatal(err)
		}
		own := redis.NewClient(edge)
		for _, part := range []string{"private", "wraps"} {
			if err := own.HGetAll(t.Context(), "mayfly:key:"+part+":x").Err(); err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("the relay's user reads %s parts: %v", part, err)
			}
		}
		_ = own.Close()
	}
	keyring, data := s.Config["keyring"], s.Config["redis"]
	defer func() { s.Config["keyring"], s.Config["redis"] = keyring, data }()
	s.Config["keyring"] = map[string]any{"nodes": nodes, "kek_file": "/nonexistent"}
	s.Config["redis"] = map[string]any{"addrs": []string{"127.0.0.1:1"}}
	s.Config["relay"] = map[string]any{"listen": "127.0.0.1:0", "batch": map[string]any{"linger": "20ms", "events": 100, "key_wait": "500ms"}}
	return s.Start(t, "relay")
}

// post hands records to the relay as JSON lines.
func post(relay *mayflytest.Process, records []*kgo.Record) int {
	lines := make([][]byte, len(records))
	for i, r := range records {
		lines[i] = r.Value
	}
	status, _ := relay.Post(lines...)
	return status
}

// testSealed has sealed and plain messages in one topic, and kills ingest in
// between. The addresses of the sealed ones are nowhere but in answers.
func testSealed(t *testing.T, kafka *kafkatest.Cluster) {
	const sealed, plain = 3000, 1800
	s := newE2E(t, kafka, time.Hour, "sealed")
	kafka.CreateTopic(t, s.topic(), 2, nil)
	servers := append([]*redistest.Server{s.Data}, s.Keys...)
	monitors := make([]*monitor, len(servers))
	for i, server := range servers {
		monitors[i] = watch(t, server)
	}
	s.Config["log"] = map[string]any{"level": "debug"}
	relay := s.relay(t)
	if status := post(relay, canaries(0, 10)); status != http.StatusServiceUnavailable {
		t.Errorf("without a warden the relay answers %d", status)
	}
	ends, err := kafka.Admin(t).ListEndOffsets(t.Context(), s.topic())
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset != 0 {
			t.Errorf("without a key %d messages were written", o.Offset)
		}
	})
	s.Start(t, "warden")
	mayflytest.Eventually(t, "the relay takes events", func() bool { return post(relay, canaries(0, 10)) == http.StatusAccepted })
	desk := s.Start(t, "desk")
	s.Section("keyring")["kek_file"] = "/nonexistent" // ingest only writes
	first := s.Start(t, "ingest")
	half := func(from int) {
		for at := from; at < from+sealed/2; at += 50 {
			events := canaries(at, 50)
			if at == 0 {
				events = events[10:] // they are there
			}
			if status := post(relay, events); status != http.StatusAccepted {
				t.Fatalf("the relay answers %d", status)
			}
			kafka.Produce(t, s.topic(), kgo.NoCompression(), e2eEvents(at*3/5, 30, 2, 40)...)
		}
	}
	half(0)
	awaitStored(t, first, 100)
	members := s.members(t)
	first.Kill()
	s.evict(t, members...)
	half(sealed / 2)
	second := s.Start(t, "ingest")
	desk.AwaitFound(t, lookup.Request{Account: canaryAccount}, sealed)
	desk.AwaitFound(t, lookup.Request{IP: canaryAddresses[0].String()}, sealed/2)
	desk.AwaitFound(t, lookup.Request{Prefix: "2001:db8:5ca1:ab1e::/64"}, sealed/2)
	desk.AwaitFound(t, everybody, plain)
	checkTopic(t, kafka, s.topic())
	for i := range servers {
		checkFiles(t, i, servers[i])
		monitors[i].mu.Lock()
		if found := leaks(monitors[i].bytes.Bytes()); len(found) > 0 || monitors[i].lines == 0 {
			t.Errorf("server %d was told %v in %d commands", i, found, monitors[i].lines)
		}
		monitors[i].mu.Unlock()
	}
	for name, p := range map[string]*mayflytest.Process{"relay": relay, "ingest": second} {
		if err := p.Terminate(t); err != nil {
			t.Errorf("%s ended with %v", name, err)
		}
		if found := leaks([]byte(p.Log())); len(found) > 0 || p.Log() == "" {
			t.Errorf("%s has logged %v", name, found)
		}
	}
}

// checkTopic reads all that Kafka has written of a topic, in which plain events
// are seen and no canary is.
func checkTopic(t *testing.T, kafka *kafkatest.Cluster, topic string) {
	t.Helper()
	size, plain := 0, false
	err := filepath.WalkDir(kafka.Folder(), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // Kafka is at work
		}
		if err != nil || d.IsDir() || !strings.Contains(path, topic) {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		size += len(content)
		plain = plain || bytes.Contains(content, []byte("198.51.100."))
		if found := leaks(content); len(found) > 0 {
			t.Errorf("kafka has written %v to %s", found, filepath.Base(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kafka.Real() && !plain {
		t.Errorf("no plain event is seen in %d bytes of the topic: the test looks at nothing", size)
	}
}
