package compactor_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/compactor"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/store"
)

// system is an IP log whose epochs a compactor looks after.
type system struct {
	policy   retention.Policy
	ring     *keyring.Keyring
	kek      keyring.KEK
	store    store.Store
	writer   *store.Writer
	reader   *store.Reader
	registry *prometheus.Registry
	offset   int64
}

func newSystem(t *testing.T, s store.Store, node keyring.Node, window time.Duration) *system {
	t.Helper()
	y := &system{
		policy: retention.Policy{Name: "p", Window: window, Epoch: window / 12}, store: s, registry: prometheus.NewRegistry(),
	}
	var err error
	if y.ring, err = keyring.New(node); err != nil {
		t.Fatal(err)
	}
	if y.kek, err = keyring.NewMemoryKEK(time.Now()); err != nil {
		t.Fatal(err)
	}
	y.writer = store.NewWriter(y.ring, s)
	y.reader = store.NewReader(retention.Policies{y.policy}, keyring.NewOpener(y.ring, y.kek, zap.NewNop()), s)
	return y
}

func (y *system) compactor(t *testing.T, reader *store.Reader, registry *prometheus.Registry) *compactor.Compactor {
	t.Helper()
	c, err := compactor.New(
		compactor.Config{Grace: time.Minute, Every: time.Second, MinWindow: 10 * time.Minute},
		compactor.Dependencies{
			Policies: retention.Policies{y.policy}, Units: store.NewCompactor(reader), Log: zap.NewNop(), Registerer: registry,
		})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write stores n records of the time at.
func (y *system) write(t *testing.T, at time.Time, n int) {
	t.Helper()
	ctx := context.Background()
	epoch := y.policy.EpochAt(at)
	deadline := epoch.Deadline(y.policy.Window)
	_, err := y.ring.Mint(ctx, epoch, deadline, y.kek, func() uint32 { return 2 },
		func(key keyring.Public) error { return y.store.Open(ctx, key) })
	if err != nil {
		t.Fatal(err)
	}
	batch := store.Batch{Epoch: epoch, Deadline: deadline}
	for i := range n {
		a, _ := address.From(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		y.offset++
		batch.Records = append(batch.Records, record.Record{
			ID: record.ID{Offset: y.offset}, Time: at.UnixMilli(), Address: a, Account: fmt.Sprint("user", i), Event: "connect",
		})
	}
	sealed, err := y.writer.Seal(ctx, []store.Batch{batch})
	if err != nil {
		t.Fatal(err)
	}
	if err := y.writer.Append(ctx, sealed); err != nil {
		t.Fatal(err)
	}
}

func (y *system) check(t *testing.T, at time.Time, n int) {
	t.Helper()
	answer, err := y.reader.Find(context.Background(), store.Query{Prefix: netip.MustParsePrefix("192.0.2.0/24"), From: at, To: at})
	if err != nil || len(answer.Records) != n || !answer.Complete {
		t.Fatalf("%d records, want %d; complete %v, %v", len(answer.Records), n, answer.Complete, err)
	}
}

func (y *system) counts(t *testing.T, name string, want float64) {
	t.Helper()
	families, err := y.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			if got := f.GetMetric()[0].GetCounter().GetValue(); got != want {
				t.Fatalf("%s is %v, want %v", name, got, want)
			}
			return
		}
	}
	t.Fatalf("no %s", name)
}

func TestEpochsAreCompactedOnceTheyAreOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events = "mayfly_compact_events_total"
		y := newSystem(t, store.NewMemory(), keyring.NewMemoryNode("a"), time.Hour)
		ctx, cancel := context.WithCancel(context.Background())
		c := y.compactor(t, y.reader, y.registry)
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		begun := time.Now() // a whole epoch begins: bubbles start at midnight
		y.write(t, begun, 100)
		time.Sleep(5*time.Minute + 58*time.Second)
		y.counts(t, events, 0)
		time.Sleep(4 * time.Second) // the end and a minute have passed
		y.counts(t, events, 100)
		y.check(t, begun, 100)
		y.write(t, begun, 50) // late
		time.Sleep(time.Minute)
		y.counts(t, events, 100)
		y.check(t, begun, 150)
		time.Sleep(3 * time.Minute) // four times the grace
		y.counts(t, events, 150)
		y.check(t, begun, 150)
		if err := c.Ready(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestShortWindowsStayHot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory(), keyring.NewMemoryNode("a"), 9*time.Minute)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		y.write(t, time.Now(), 10)
		if err := y.compactor(t, y.reader, y.registry).Run(ctx); err != nil {
			t.Fatal(err)
		}
		y.counts(t, "mayfly_compact_generations_total", 0)
	})
}

func TestALossIsCountedAndSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		memory := store.NewMemory()
		y := newSystem(t, memory, keyring.NewMemoryNode("a"), time.Hour)
		y.write(t, time.Now(), 10)
		ctx, cancel := context.WithTimeout(context.Background(), 11*time.Minute)
		defer cancel()
		c := y.compactor(t, y.reader, y.registry)
		go func() {
			time.Sleep(7 * time.Minute)
			units, _, err := store.NewCompactor(y.reader).Units(ctx, y.policy.EpochAt(time.Now().Add(-7*time.Minute)))
			if err != nil || len(units) == 0 {
				t.Errorf("%d units, %v", len(units), err)
			}
			for _, u := range units {
				memory.DropBlocks(u.Place)
			}
			y.write(t, time.Now().Add(-7*time.Minute), 10)
		}()
		_ = c.Run(ctx)
		if err := c.Ready(); !errors.Is(err, store.ErrDamaged) {
			t.Fatalf("ready says %v", err)
		}
		damaged := 0.0
		families, _ := y.registry.Gather()
		for _, f := range families {
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if l.GetValue() == "damaged" {
						damaged = m.GetCounter().GetValue()
					}
				}
			}
		}
		if damaged == 0 {
			t.Fatal("a damaged generation is not counted")
		}
		if problems, err := testutil.GatherAndLint(y.registry); err != nil || len(problems) > 0 {
			t.Fatalf("%v, %v", problems, err)
		}
	})
}

// access is the least that a compactor needs of the data Redis and of the keyring; it is
// also in mayfly compact --help.
var (
	dataAccess    = "~mayfly:* -@all +ping +hello +hgetall +lrange +lrem +hget +hset +hkeys +hdel +hexists +pexpireat +time +eval"
	keyringAccess = "%R~mayfly:key:* -@all +ping +hello +hgetall +get +pttl +scan +time"
)

func TestTheLeastAccessIsEnough(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	data, keys := redistest.Start(t), redistest.Start(t)
	limited := map[*redistest.Server]*redis.Client{}
	for server, rules := range map[*redistest.Server]string{data: dataAccess, keys: keyringAccess} {
		args := []any{"ACL", "SETUSER", "compact", "on", ">secret"}
		for rule := range strings.FieldsSeq(rules) {
			args = append(args, rule)
		}
		if err := server.Client(t).Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
		limited[server] = redis.NewClient(&redis.Options{Addr: server.Addr, Username: "compact", Password: "secret"})
		t.Cleanup(func() { _ = limited[server].Close() })
	}
	y := newSystem(t, store.NewRedis(data.Client(t)), keyring.NewRedisNode("a", keys.Client(t)), time.Hour)
	past := time.Now().Add(-30 * time.Minute)
	y.write(t, past, 100)
	ring, err := keyring.New(keyring.NewRedisNode("a", limited[keys]))
	if err != nil {
		t.Fatal(err)
	}
	reader := store.NewReader(retention.Policies{y.policy}, keyring.NewOpener(ring, y.kek, zap.NewNop()), store.NewRedis(limited[data]))
	c := store.NewCompactor(reader)
	units, _, err := c.Units(ctx, y.policy.EpochAt(past))
	if err != nil || len(units) == 0 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	for _, u := range units {
		if done, err := c.Compact(ctx, u); err != nil || done.Rows == 0 {
			t.Fatalf("%d rows, %v", done.Rows, err)
		}
	}
	y.check(t, past.Truncate(time.Millisecond), 100)
	if left := data.Client(t).Keys(ctx, "mayfly:{p/*}/0").Val(); len(left) > 0 {
		t.Fatalf("frames are left: %v", left)
	}
	for server, command := range map[*redistest.Server][]any{
		data: {"UNLINK", "mayfly:x"}, keys: {"HSET", "mayfly:key:public:x", "a", "b"},
	} {
		if err := limited[server].Do(ctx, command...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%v is allowed: %v", command[0], err)
		}
	}
}
