package store_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/store"
	"mayfly/retention/sweep"
)

// users gives a server the users of an access list, and a client of each.
func users(t *testing.T, server *redistest.Server, list string) map[string]*redis.Client {
	t.Helper()
	text, err := os.ReadFile("../../deploy/" + list)
	if err != nil {
		t.Fatal(err)
	}
	clients := map[string]*redis.Client{}
	for line := range strings.Lines(string(text)) {
		rules := strings.Fields(line)
		if len(rules) < 3 || rules[0] != "user" {
			t.Fatalf("%s: %q", list, line)
		}
		name := rules[1]
		if err := server.Client(t).ACLSetUser(t.Context(), name, append(rules[2:], ">secret")...).Err(); err != nil {
			t.Fatalf("%s: %s: %v", list, name, err)
		}
		clients[name] = redis.NewClient(&redis.Options{Addr: server.Addr, Username: name, Password: "secret"})
		t.Cleanup(func() { _ = clients[name].Close() })
	}
	return clients
}

// as is a system whose servers know it by a role.
func (y *system) as(t *testing.T, role string, data, node map[string]*redis.Client) *system {
	t.Helper()
	ring, err := keyring.New(keyring.NewRedisNode("a", node[role]))
	if err != nil {
		t.Fatal(err)
	}
	other := *y
	other.ring = ring
	other.opener = keyring.NewOpener(ring, y.kek, zap.NewNop())
	if data[role] != nil {
		other.store = store.NewRedis(data[role])
		other.writer = store.NewWriter(ring, other.store)
		other.reader = store.NewReader(retention.Policies{y.policy}, other.opener, other.store)
	}
	return &other
}

// Each role does its whole work as the user that deploy/*.acl has for it.
func TestAccessListsSuffice(t *testing.T) {
	t.Parallel()
	dataServer, nodeServer := redistest.Start(t, "--save", ""), redistest.Start(t, "--save", "", "--slowlog-max-len", "0")
	data, node := users(t, dataServer, "data.acl"), users(t, nodeServer, "keyring.acl")
	y := newSystem(t, store.NewMemory())
	y.policy.Window, y.policy.Epoch = 96*time.Minute, 8*time.Minute // none begins meanwhile that nobody mints, or hardly ever
	warden, ingest, desk := y.as(t, "warden", data, node), y.as(t, "ingest", data, node), y.as(t, "desk", data, node)
	warden.mint(t)

	written, batches := y.events(1, 300)
	ingest.write(t, batches)
	if _, err := ingest.store.Check(t.Context()); err != nil {
		t.Errorf("ingest: %v", err)
	}
	desk.check(t, written, true)
	compactor := y.as(t, "compactor", data, node)
	if rows, err := compactor.compact(compactor.compactor(compactor.store)); rows == 0 || err != nil {
		t.Errorf("compactor: %d rows, %v", rows, err)
	}
	desk.check(t, written, true)
	if keys, err := y.as(t, "edge", nil, node).ring.Public(t.Context(), batches[0].Epoch); len(keys) != 1 || err != nil {
		t.Errorf("edge: %d keys, %v", len(keys), err)
	}
	warden.check(t, written, true) // by its canaries
	testWardensUser(t, warden, data["warden"], node["warden"], batches[0].Epoch)
}

func testWardensUser(t *testing.T, y *system, data, node *redis.Client, epoch retention.Epoch) {
	ctx := t.Context()
	for _, a := range append(keyring.AttestData(ctx, data, 5*time.Second), keyring.AttestNode(ctx, "a", node, 5*time.Second)) {
		for _, f := range a.Findings {
			if f.Verdict == keyring.Unattested {
				t.Errorf("warden: %s %s: %s", f.Subject, f.Condition, f.Saw)
			}
		}
	}
	if lease, err := y.ring.Lease(ctx, "w", time.Second); lease.Holder != "w" || err != nil {
		t.Errorf("warden: %v, %v", lease, err)
	}
	keys, err := y.ring.Public(ctx, epoch)
	if err != nil {
		t.Fatal(err)
	}
	sooner := epoch.Deadline(y.policy.Window).Add(-time.Second)
	if err := y.store.Shorten(ctx, keys[0], sooner); err != nil {
		t.Errorf("warden: %v", err)
	}
	if err := y.ring.Shorten(ctx, epoch, sooner, y.kek); err != nil {
		t.Errorf("warden: %v", err)
	}
	for client, pattern := range map[*redis.Client]string{data: "mayfly:{*", node: "mayfly:key:*"} {
		late := func(context.Context, string) sweep.Rule { return sweep.Rule{Ours: true, By: sooner} }
		if found, err := sweep.Server(ctx, client, pattern, 1_000_000, late); err != nil || found.Keys == 0 {
			t.Errorf("warden: %+v, %v", found, err)
		}
	}
	if err := y.ring.Destroy(ctx, epoch, time.Hour); err != nil {
		t.Errorf("warden: %v", err)
	}
	if err := y.store.Unlink(ctx, epoch, keys); err != nil {
		t.Errorf("warden: %v", err)
	}
	if answering, holding := y.ring.Holding(ctx, epoch); answering != 1 || holding != 0 {
		t.Errorf("warden: %d answer, %d hold", answering, holding)
	}
	gone := func(context.Context, string) sweep.Rule { return sweep.Rule{Ours: true, Dead: true} }
	if found, err := sweep.Server(ctx, data, "mayfly:{*", 1_000_000, gone); err != nil || found.Dead == 0 {
		t.Errorf("warden: %+v, %v", found, err)
	}
}

// What none of the users may, though its process be taken over.
func TestAccessListsRefuse(t *testing.T) {
	t.Parallel()
	data, node := users(t, redistest.Start(t), "data.acl"), users(t, redistest.Start(t), "keyring.acl")
	const chunk, public, private, wraps, mark = "mayfly:{p/0+1/k/ip/0}/0", "mayfly:key:public:p/0+1", "mayfly:key:private:p/0+1",
		"mayfly:key:wraps:p/0+1", "mayfly:key:mark:p+1"
	reads := [][]any{{"LRANGE", chunk, 0, -1}, {"HGETALL", chunk}, {"HGET", chunk, "f"}, {"SCAN", 0}, {"DUMP", chunk}}
	writes := [][]any{
		{"RPUSH", chunk, "v"}, {"HSET", chunk, "f", "v"}, {"UNLINK", chunk}, {"DEL", chunk}, {"SET", chunk, "v"}, {"PEXPIREAT", chunk, 1},
		{"LREM", chunk, 1, "v"}, {"EVAL", "return redis.call('DEL', KEYS[1])", 1, chunk},
	}
	keyWrites := [][]any{
		{"HSET", public, "f", "v"}, {"HSETNX", public, "f", "v"}, {"DEL", public}, {"PEXPIREAT", public, 1}, {"SET", mark, 1}, {"DEL", mark},
		{"HSET", private, "f", "v"}, {"EVAL", "return redis.call('HSETNX', KEYS[1], 'f', 'v')", 1, public},
		{"EVAL", "return redis.call('HSETNX', ARGV[1], 'f', 'v')", 0, public}, {"SET", "mayfly:key:lease", "w"},
	}
	keyReads := [][]any{{"HGETALL", private}, {"HGET", private, "f"}, {"EVAL", "return redis.call('HGETALL', ARGV[1])", 0, private}}
	never := [][]any{
		{"KEYS", "*"}, {"FLUSHALL"}, {"CONFIG", "SET", "save", "60 1"}, {"SAVE"}, {"BGREWRITEAOF"}, {"REPLICAOF", "127.0.0.1", "1"}, {"MONITOR"},
		{"ACL", "LIST"}, {"PERSIST", chunk}, {"PERSIST", public}, {"EXPIRE", chunk, 1}, {"RENAME", public, "mayfly:key:public:q"},
		{"GETEX", mark, "PERSIST"}, {"COPY", chunk, chunk}, {"RESTORE", chunk, 0, "v"}, {"GET", "another"}, {"HGETALL", "another"},
		{"SET", "another", "v"}, {"PUBLISH", "c", "v"}, {"SUBSCRIBE", "c"},
	}
	for _, test := range []struct {
		role    string
		clients map[string]*redis.Client
		refused [][]any
	}{
		{"ingest", data, slices.Concat(never, reads, [][]any{{"UNLINK", chunk}, {"DEL", chunk}, {"SET", chunk, "v"}, {"LREM", chunk, 1, "v"}})},
		{"ingest", node, slices.Concat(never, keyReads, keyWrites, [][]any{{"SCAN", 0}, {"DEL", wraps}, {"HSET", wraps, "f", "v"}})},
		{"desk", data, slices.Concat(never, writes)},
		{"desk", node, slices.Concat(never, keyWrites, [][]any{{"HSETNX", wraps, "f", "v"}})},
		{"compactor", data, slices.Concat(never, [][]any{{"DEL", chunk}, {"SET", chunk, "v"}})},
		{"compactor", node, slices.Concat(never, keyWrites, [][]any{{"HSETNX", wraps, "f", "v"}})},
		{"edge", node, slices.Concat(never, keyReads, keyWrites, [][]any{{"HGETALL", wraps}, {"GET", mark}, {"SCAN", 0}})},
		{"warden", data, never},
		{"warden", node, never},
	} {
		for _, command := range test.refused {
			err := test.clients[test.role].Do(context.Background(), command...).Err()
			if err == nil || !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "ACL failure in script") &&
				!strings.Contains(err.Error(), "can't access") {
				t.Errorf("%s may %v: %v", test.role, command, err)
			}
		}
	}
}
