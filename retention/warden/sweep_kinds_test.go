package warden

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
	"mayfly/retention/tally"
)

// TestSweepKnowsEveryKey writes every kind of key that there is, hot, sealed at the
// edge and cold, with a claim of a compactor, on real servers.
func TestSweepKnowsEveryKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	data, node := redistest.Start(t).Client(t), redistest.Start(t).Client(t)
	ring, err := keyring.New(keyring.NewRedisNode("node", node))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log, policy := store.NewRedis(data), retention.Policy{Name: "p", Window: time.Hour, Epoch: 10 * time.Minute}
	w, err := New(DefaultConfig(), Dependencies{
		Policies: retention.Policies{policy}, Keyring: ring, KEK: kek, Store: log, Log: zap.NewNop(),
		Tally: func(context.Context, retention.Epoch) (tally.Sum, error) {
			return tally.Sum{Counts: tally.Counts{Stored: 1}}, nil
		}, Forget: func(retention.Epoch) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSweeper(DefaultConfig(), SweepDependencies{Warden: w, Data: data, Nodes: []*redis.Client{node}, Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	past := policy.EpochAt(now.Add(-2 * policy.Window))
	w.status(past, past.Deadline(policy.Window))
	w.hold(ctx)
	if err := errors.Join(w.mintLiving(ctx, now), w.purgeDue(ctx, now)); err != nil {
		t.Fatal(err)
	}

	writer := store.NewWriter(ring, log)
	write := func(batch store.Batch) {
		t.Helper()
		sealed, err := writer.Seal(ctx, []store.Batch{batch})
		if err == nil {
			err = writer.Append(ctx, sealed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	epoch := policy.EpochAt(now.Add(-policy.Epoch))
	deadline := epoch.Deadline(policy.Window)
	records := func(partition int32) []record.Record {
		ip, _ := address.From(netip.AddrFrom4([4]byte{192, 0, 2, byte(partition)}))
		return []record.Record{{ID: record.ID{Partition: partition}, Time: epoch.Start, Address: ip, Account: "a", Event: "connect"}}
	}
	write(store.Batch{Epoch: epoch, Deadline: deadline, Records: records(0)})
	reader := store.NewReader(w.d.Policies, keyring.NewOpener(ring, kek, zap.NewNop()), log)
	compactor := store.NewCompactor(reader)
	units, _, err := compactor.Units(ctx, epoch)
	if err != nil || len(units) == 0 {
		t.Fatalf("%d units: %v", len(units), err)
	}
	for _, unit := range units {
		if _, err := compactor.Compact(ctx, unit); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.Claim(ctx, units[0].Place, deadline, "another"); err != nil {
		t.Fatal(err)
	}
	write(store.Batch{Epoch: epoch, Deadline: deadline, Records: records(1)})
	keys, err := ring.Public(ctx, epoch)
	if err != nil {
		t.Fatal(err)
	}
	edge, err := store.NewEdge(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	batch, err := seal.ParseBatch(edge.Seal(nil, records(2)))
	if err != nil {
		t.Fatal(err)
	}
	write(store.Batch{Epoch: epoch, Deadline: deadline, Edge: &store.EdgeBatch{Batch: batch}})

	expectKinds(t, append(data.Keys(ctx, "*").Val(), node.Keys(ctx, "*").Val()...))
	before := data.DBSize(ctx).Val() + node.DBSize(ctx).Val()
	s.sweep(ctx)
	for _, finding := range []string{"without_expiry", "late", "dead", "unexplained"} {
		if n := testutil.ToFloat64(s.found.WithLabelValues(finding)); n != 0 {
			t.Errorf("%v keys %s", n, finding)
		}
	}
	if after := data.DBSize(ctx).Val() + node.DBSize(ctx).Val(); after != before {
		t.Errorf("%d keys before, %d after", before, after)
	}
}

// expectKinds sees to it that the test has made what it is about.
func expectKinds(t *testing.T, names []string) {
	t.Helper()
	kinds := map[string]bool{}
	for _, name := range names {
		name, _ = strings.CutPrefix(name, "mayfly:")
		switch parts := strings.Split(name, "/"); {
		case strings.HasPrefix(name, "key:"):
			kinds["key:"+strings.Split(name, ":")[1]] = true
		case len(parts) < 6:
			kinds["directory"] = true
		case parts[5] == "cold":
			kinds[parts[3]+" cold"] = true
		default:
			kinds[parts[3]] = true
		}
	}
	want := []string{
		"account", "account cold", "directory", "ip", "ip cold",
		"key:lease", "key:mark", "key:private", "key:public", "key:wraps",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(kinds))); diff != "" {
		t.Errorf("kinds of keys (-want +got):\n%s", diff)
	}
}
