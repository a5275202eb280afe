package guarantee

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kadm"

	"mayfly/retention"
)

// What the servers hold, asked of themselves.

func (s *system) clients(t testing.TB) []*redis.Client {
	t.Helper()
	clients := []*redis.Client{s.Data.Client(t)}
	for _, node := range s.Keys {
		clients = append(clients, node.Client(t))
	}
	return clients
}

// epochOf reads the epoch in the name of a key, of the data or of the keyring: false
// for a purged-through mark, which belongs to none.
func epochOf(name string) (retention.Epoch, bool) {
	text, of := strings.CutPrefix(name, "mayfly:{")
	if of {
		parts := strings.Split(strings.TrimSuffix(text, "}"), "/")
		text = strings.Join(parts[:min(len(parts), 2)], "/")
	} else {
		text = text[strings.LastIndexByte(text, ':')+1:]
	}
	epoch, err := retention.ParseEpoch(text)
	return epoch, err == nil
}

// due lists the keys of a policy's epochs that are past their deadline, by SCAN: what a
// server no longer shows to anybody is not among them.
func due(t testing.TB, clients []*redis.Client, policy string, window time.Duration) (names []string) {
	t.Helper()
	now := time.Now()
	for _, client := range clients {
		for _, name := range keysOf(t, client, "mayfly:*"+policy+"/*") {
			epoch, ok := epochOf(name)
			if !ok {
				t.Errorf("key %s is of no epoch", name)
			}
			if ok && !epoch.Deadline(window).After(now) && client.Exists(context.Background(), name).Val() > 0 {
				names = append(names, name)
			}
		}
	}
	return names
}

// mustHoldNothingDue gives the servers five seconds after a deadline, the bound for
// keys that go by themselves.
func (s *system) mustHoldNothingDue(t testing.TB, policy string, window time.Duration) {
	t.Helper()
	clients := s.clients(t)
	var names []string
	for limit := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if names = due(t, clients, policy, window); len(names) == 0 {
			return
		}
		if time.Now().After(limit) {
			t.Errorf("%d keys are past their deadline, the first %s", len(names), names[0])
			return
		}
	}
}

// living counts the keys of a policy on a server.
func living(t testing.TB, client *redis.Client, policy string) int {
	t.Helper()
	return len(keysOf(t, client, "mayfly:*"+policy+"/*"))
}

// committed is the offset of a group that reads one partition.
func (s *system) committed(t testing.TB, group string) (offset int64) {
	t.Helper()
	offsets, err := s.Kafka.Admin(t).FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	offsets.Each(func(o kadm.OffsetResponse) { offset = max(o.At, 0) })
	return offset
}

// end is how many records one partition has had.
func (l *lab) end(t testing.TB, topic string) (offset int) {
	t.Helper()
	ends, err := l.kafka.Admin(t).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { offset = int(o.Offset) })
	return offset
}
