package bench

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9" //nolint:depguard // empties servers and asks for their figures
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/store"
	"mayfly/retention/tally"
	"mayfly/retention/warden"
)

// servers are the data store and the keyring's one node.
type servers struct {
	data, keys *redistest.Server
	kek        string // file of the key-encryption key
	// The harness's own connections.
	dataClient, keysClient *redis.Client
}

func startServers(t testing.TB) *servers {
	t.Helper()
	s := &servers{data: redistest.Start(t), keys: redistest.Start(t), kek: filepath.Join(t.TempDir(), "kek")}
	if err := keyring.GenerateKEK(s.kek, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.dataClient, s.keysClient = s.data.Client(t), s.keys.Client(t)
	return s
}

func (s *servers) empty(t testing.TB) {
	t.Helper()
	for _, client := range []*redis.Client{s.dataClient, s.keysClient} {
		if err := client.FlushAll(t.Context()).Err(); err != nil {
			t.Fatalf("emptying Redis: %v", err)
		}
	}
	for numberOf(t, s.dataClient, "lazyfree_pending_objects") > 0 { // what was unlinked is freed beside
		time.Sleep(time.Millisecond)
	}
}

// mint has a warden make the keys, with the layout that follows an epoch of so many events.
func (s *servers) mint(t testing.TB, events float64) *minted {
	t.Helper()
	ring, err := keyring.New(keyring.NewRedisNode("bench", s.keysClient))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.OpenKEK(s.kek, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	policies, log := retention.Policies{policy()}, store.NewRedis(s.dataClient)
	enforcer, err := warden.New(warden.DefaultConfig(), warden.Dependencies{
		Policies: policies, Keyring: ring, KEK: kek, Store: log,
		Tally: func(context.Context, retention.Epoch) (tally.Sum, error) {
			return tally.Sum{Counts: tally.Counts{Stored: int64(events)}}, nil
		},
		Forget: func(retention.Epoch) {}, Log: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- enforcer.Run(ctx) }()
	epoch := filledEpoch()
	for {
		if _, err := ring.Public(ctx, epoch); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("the warden mints no key")
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatalf("minting: %v", err)
	}
	return &minted{store.NewReader(policies, keyring.NewOpener(ring, kek, zap.NewNop()), log)}
}

// running runs an opener as every process does that opens frames: one that does not run asks
// the keyring's nodes anew for each look-up.
func running(ctx context.Context, opener *keyring.Opener) *keyring.Opener {
	go func() { _ = opener.Run(ctx) }()
	return opener
}

// minted reads what is stored under the keys of one mint.
type minted struct{ reader *store.Reader }

// stored is how many events there are.
func (m *minted) stored(t testing.TB) uint64 {
	t.Helper()
	n, err := m.reader.Tally(t.Context(), filledEpoch())
	if err != nil {
		t.Fatalf("counting what is stored: %v", err)
	}
	return uint64(n.Stored)
}

// figures are the data server's memory in use and the CPU time that it has taken.
func (s *servers) figures(t testing.TB) (memory int64, cpu time.Duration) {
	t.Helper()
	bytes, err1 := strconv.ParseInt(s.info(t, "used_memory"), 10, 64)
	user, err2 := time.ParseDuration(s.info(t, "used_cpu_user") + "s")
	system, err3 := time.ParseDuration(s.info(t, "used_cpu_sys") + "s")
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal("Redis does not tell its figures")
	}
	return bytes, user + system
}

// info is one line of the data server's INFO.
func (s *servers) info(t testing.TB, name string) string {
	t.Helper()
	return infoOf(t, s.dataClient, name)
}

func infoOf(t testing.TB, client *redis.Client, name string) string {
	t.Helper()
	text, err := client.Info(t.Context()).Result()
	if err != nil {
		t.Fatalf("asking Redis: %v", err)
	}
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	t.Fatalf("Redis does not tell its %s", name)
	return ""
}

// numberOf is a number that a server's INFO tells.
func numberOf(t testing.TB, client *redis.Client, name string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(infoOf(t, client, name), 64)
	if err != nil {
		t.Fatalf("Redis does not tell its %s", name)
	}
	return n
}

// network is how many bytes the data server has sent and received.
func (s *servers) network(t testing.TB) float64 {
	t.Helper()
	return numberOf(t, s.dataClient, "total_net_input_bytes") + numberOf(t, s.dataClient, "total_net_output_bytes")
}
