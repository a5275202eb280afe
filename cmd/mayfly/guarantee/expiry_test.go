package guarantee

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/cmd/mayfly/mayflytest"
)

// Every key has its expiry from its first instant, and nothing takes or extends it.

// expiryWatch asks for the expiry of each key whenever a server says that it has changed.
type expiryWatch struct {
	mu     sync.Mutex // guards all below
	before map[string]time.Duration
	seen   map[string]int // by what was done
	wrong  []string
}

func watchExpiries(t *testing.T, client *redis.Client, w *expiryWatch) {
	t.Helper()
	if err := client.ConfigSet(t.Context(), "notify-keyspace-events", "KA").Err(); err != nil {
		t.Fatal(err)
	}
	changes := client.PSubscribe(t.Context(), "__keyspace@0__:mayfly:*")
	if _, err := changes.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = changes.Close() })
	channel := changes.Channel(redis.WithChannelSize(100_000))
	go func() {
		for change := range channel {
			name := strings.TrimPrefix(change.Channel, "__keyspace@0__:")
			w.take(client.Options().Addr+" "+name, change.Payload, client.PExpireTime(context.Background(), name))
		}
	}()
}

func (w *expiryWatch) take(name, event string, answer *redis.DurationCmd) {
	at, err := answer.Result()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen[event]++
	before, known := w.before[name]
	_, of := epochOf(name[strings.IndexByte(name, ' ')+1:]) // marks and leases are of none, and are renewed
	switch {
	case err != nil || at == -2: // it has gone
		delete(w.before, name)
		return
	case at == -1:
		w.wrong = append(w.wrong, fmt.Sprintf("%s has no expiry after %s", name, event))
	case of && known && at > before:
		w.wrong = append(w.wrong, fmt.Sprintf("%s: %s extends its life by %v", name, event, at-before))
	}
	w.before[name] = at
}

// 08: no key is ever without an expiry, and no write clears or extends one.
// Mutant: chunks that are given theirs by a command of its own, later.
func alwaysExpiring(t *testing.T, l *lab) {
	s := ownSystem(t, l, arrivalWindow)
	name := topic(t, l.kafka)
	w := &expiryWatch{before: map[string]time.Duration{}, seen: map[string]int{}}
	clients := s.clients(t)
	for _, client := range clients {
		watchExpiries(t, client, w)
	}
	s.Start(t, "warden").AwaitReady(t)
	ingest := s.ingest(t, name, "only")
	for i := range 60 {
		produce(t, l.kafka, name, connects(time.Now(), "g08", fmt.Sprint("198.51.100.", i)))
		time.Sleep(100 * time.Millisecond) // the traffic spans epochs
	}
	mayflytest.Eventually(t, "all is stored", func() bool { return ingest.Events("stored") == 60 })
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range []string{"rpush", "hset", "expire"} {
		if w.seen[event] < 10 {
			t.Errorf("%s was seen %d times: the case proves nothing", event, w.seen[event])
		}
	}
	if len(w.wrong) > 0 {
		t.Errorf("%d times, first: %s", len(w.wrong), w.wrong[0])
	}
	for name, at := range w.before {
		_, name, _ := strings.Cut(name, " ")
		if epoch, ok := epochOf(name); ok && at.Milliseconds() > epoch.Deadline(arrivalWindow).UnixMilli() {
			t.Errorf("%s lives past its epoch's deadline", name)
		}
	}
}

// 09: connections that end between any two commands leave no key without expiry, lose nothing and
// double nothing.
// Mutant: a chunk and its expiry as two commands of one pipeline.
func cutConnections(t *testing.T, l *lab) {
	const events = 200
	s := ownSystem(t, l, 2*time.Minute)
	name := topic(t, l.kafka)
	proxy := s.Data.Proxy(t)
	cut := s.with(func(config map[string]any) { config["redis"].(map[string]any)["addrs"] = []string{proxy.Addr} })
	s.Start(t, "warden").AwaitReady(t)
	desk := s.Start(t, "desk")
	cut.ingest(t, name, "only")
	client := s.Data.Client(t)
	draw := rand.New(rand.NewPCG(9, 9))
	wrong := 0
	mayflytest.Eventually(t, "enough connections are cut", func() bool {
		proxy.CutAfter(1 + draw.IntN(12))
		if n := proxy.Cuts(); n < events {
			produce(t, l.kafka, name, connects(time.Now(), "g09", fmt.Sprint("198.51.100.", n%256)))
		}
		for _, at := range expiries(t, []*redis.Client{client}, "g09") {
			if at < 0 {
				wrong++
			}
		}
		return proxy.Cuts() > 100
	})
	proxy.CutAfter(0)
	if wrong > 0 {
		t.Errorf("%d times a key without expiry was seen", wrong)
	}
	produced := l.end(t, name)
	found := 0
	mayflytest.Eventually(t, "all is found", func() bool {
		answer := desk.Look(t, byAccount("g09"))
		found = len(answer.Events)
		return found >= produced && answer.Complete
	})
	if found != produced {
		t.Errorf("%d events found, want %d", found, produced)
	}
}
