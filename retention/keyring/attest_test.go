package keyring_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

const attestSkew = 5 * time.Second

type verdicts map[keyring.Condition]keyring.Verdict

func verdictsOf(findings []keyring.Finding) verdicts {
	v := verdicts{}
	for _, f := range findings {
		v[f.Condition] = f.Verdict
	}
	return v
}

// sound is what a good node is found to be, changed by others.
func sound(others verdicts) verdicts {
	v := verdicts{
		keyring.Answers: keyring.Pass, keyring.Version: keyring.Pass, keyring.Clock: keyring.Pass, keyring.Eviction: keyring.Pass,
		keyring.Standalone: keyring.Pass, keyring.AppendOnly: keyring.Pass, keyring.Snapshots: keyring.Pass,
		keyring.Replicas: keyring.Pass, keyring.SlowLog: keyring.Pass,
	}
	for condition, verdict := range others {
		v[condition] = verdict
	}
	return v
}

func expectNode(t *testing.T, client *redis.Client, want verdicts) {
	t.Helper()
	a := keyring.AttestNode(t.Context(), "n", client, attestSkew)
	if diff := cmp.Diff(want, verdictsOf(a.Findings)); diff != "" {
		t.Errorf("%s\n%+v", diff, a.Findings)
	}
	for _, f := range a.Findings {
		if (f.Verdict == keyring.Pass) != (f.Mend == "") || f.Saw == "" {
			t.Errorf("%s without words: %+v", f.Verdict, f)
		}
	}
}

func TestAttestNode(t *testing.T) {
	t.Parallel()
	quiet := []string{"--slowlog-max-len", "0"}
	for name, test := range map[string]struct {
		args []string
		want verdicts
	}{
		"sound":            {nil, nil},
		"append-only file": {[]string{"--appendonly", "yes"}, verdicts{keyring.AppendOnly: keyring.Fail}},
		"save points":      {[]string{"--save", "3600 1"}, verdicts{keyring.Snapshots: keyring.Fail}},
		"slow log":         {[]string{"--slowlog-max-len", "128"}, verdicts{keyring.SlowLog: keyring.Warn}},
		"cluster":          {[]string{"--cluster-enabled", "yes"}, verdicts{keyring.Standalone: keyring.Fail}},
		"evicts": {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, verdicts{
			keyring.Eviction: keyring.Warn,
		}},
		"CONFIG refused": {[]string{"--rename-command", "CONFIG", ""}, verdicts{
			keyring.Snapshots: keyring.Unattested, keyring.SlowLog: keyring.Unattested,
		}},
		"CONFIG refused, append-only file": {[]string{"--rename-command", "CONFIG", "", "--appendonly", "yes"}, verdicts{
			keyring.AppendOnly: keyring.Fail, keyring.Snapshots: keyring.Unattested, keyring.SlowLog: keyring.Unattested,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, append(quiet, test.args...)...)
			expectNode(t, server.Client(t), sound(test.want))
		})
	}
}

// An append-only file that was switched off is still there, and one may be asked for
// although it is off.
func TestAttestAppendOnlyFileLeftBehind(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(ctx context.Context, client *redis.Client) error{
		"switched on and off": func(ctx context.Context, client *redis.Client) error {
			if err := client.ConfigSet(ctx, "appendonly", "yes").Err(); err != nil {
				return err
			}
			return client.ConfigSet(ctx, "appendonly", "no").Err()
		},
		"BGREWRITEAOF": func(ctx context.Context, client *redis.Client) error { return client.BgRewriteAOF(ctx).Err() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := redistest.Start(t, "--slowlog-max-len", "0").Client(t)
			if err := write(t.Context(), client); err != nil {
				t.Fatal(err)
			}
			awaitInfo(t, client, "persistence", "aof_rewrite_in_progress", "0")
			expectNode(t, client, sound(verdicts{keyring.AppendOnly: keyring.Fail}))
			if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			expectNode(t, client, sound(nil))
		})
	}
}

// A replica has every wrapped key in its dump.rdb: also one that came and went
// between two looks.
func TestAttestReplica(t *testing.T) {
	t.Parallel()
	primary := redistest.Start(t, "--slowlog-max-len", "0", "--repl-diskless-sync-delay", "0")
	client := primary.Client(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := redistest.Start(t, "--slowlog-max-len", "0", "--replicaof", host+" "+port)
	expectNode(t, replica.Client(t), sound(verdicts{keyring.Replicas: keyring.Fail}))
	awaitInfo(t, client, "replication", "connected_slaves", "1")
	awaitInfo(t, replica.Client(t), "replication", "master_link_status", "up")
	attested := keyring.AttestNode(t.Context(), "n", client, attestSkew)
	if got := verdictsOf(attested.Findings)[keyring.Replicas]; got != keyring.Fail {
		t.Errorf("a replica is connected: %s", got)
	}
	replica.Kill()
	awaitInfo(t, client, "replication", "connected_slaves", "0")
	awaitInfo(t, client, "persistence", "rdb_bgsave_in_progress", "0") // the child that wrote the copy outlives the link
	if got := verdictsOf(keyring.AttestNode(t.Context(), "n", client, attestSkew).Findings)[keyring.Replicas]; got != keyring.Fail {
		t.Errorf("a replica took a copy: %s", got)
	}
	if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	expectNode(t, client, sound(nil))
}

func awaitInfo(t *testing.T, client *redis.Client, section, name, want string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		sections, err := client.InfoMap(t.Context(), section).Result()
		var got string
		for _, fields := range sections { // the one, under its title
			got = fields[name]
		}
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestAttestSnapshotByHand(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, "--slowlog-max-len", "0").Client(t)
	expectNode(t, client, sound(nil))
	if err := client.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	expectNode(t, client, sound(verdicts{keyring.Snapshots: keyring.Fail}))
	if err := client.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	expectNode(t, client, sound(nil))
}

// What an access list refuses is unattested, never pass.
func TestAttestAccessList(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	if err := server.Client(t).ACLSetUser(t.Context(), "blind", "on", ">secret", "+ping", "+hello", "+select").Err(); err != nil {
		t.Fatal(err)
	}
	want := verdicts{}
	for condition := range sound(nil) {
		want[condition] = keyring.Unattested
	}
	blind := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "blind", Password: "secret", DisableIdentity: true})
	t.Cleanup(func() { _ = blind.Close() })
	want[keyring.Answers] = keyring.Pass
	expectNode(t, blind, want)

	stranger := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "blind", Password: "wrong", DisableIdentity: true})
	t.Cleanup(func() { _ = stranger.Close() })
	want[keyring.Answers] = keyring.Fail
	expectNode(t, stranger, want)
}

func TestAttestAway(t *testing.T) {
	t.Parallel()
	want := verdicts{}
	for condition := range sound(nil) {
		want[condition] = keyring.Unattested
	}
	want[keyring.Answers] = keyring.Fail
	server := redistest.Start(t)
	client := server.Client(t)
	server.Kill()
	expectNode(t, client, want)

	// One that takes the connection and says nothing holds nobody up.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hung := redis.NewClient(&redis.Options{Addr: silent.Addr().String(), DisableIdentity: true})
	t.Cleanup(func() { _ = hung.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if diff := cmp.Diff(want, verdictsOf(keyring.AttestNode(ctx, "n", hung, attestSkew).Findings)); diff != "" {
		t.Error(diff)
	}
}

func TestAttestClock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		off  time.Duration
		want keyring.Verdict
	}{
		"10 s ahead":  {10 * time.Second, keyring.Fail},
		"10 s behind": {-10 * time.Second, keyring.Fail},
		"1 s ahead":   {time.Second, keyring.Pass},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			server.SetTime(time.Now().Add(test.off))
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true})
			t.Cleanup(func() { _ = client.Close() })
			a := keyring.AttestNode(t.Context(), "n", client, attestSkew)
			if got := verdictsOf(a.Findings)[keyring.Clock]; got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if a.Ahead == nil || (*a.Ahead-test.off).Abs() > 2*time.Second {
				t.Errorf("ahead by %v, want about %v", a.Ahead, test.off)
			}
		})
	}
}

func TestAttestServers(t *testing.T) {
	t.Parallel()
	servers := [3]*redis.Client{}
	for i := range servers {
		servers[i] = redistest.Start(t).Client(t)
	}
	a, b, c := servers[0], servers[1], servers[2]
	for name, test := range map[string]struct {
		nodes          []*redis.Client
		several, apart keyring.Verdict
	}{
		"two nodes":             {[]*redis.Client{a, b}, keyring.Pass, keyring.Pass},
		"one node":              {[]*redis.Client{a}, keyring.Warn, keyring.Pass},
		"one node twice":        {[]*redis.Client{a, a}, keyring.Warn, keyring.Pass},
		"a node keeps the data": {[]*redis.Client{a, c}, keyring.Pass, keyring.Warn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names := []string{"first", "second"}[:len(test.nodes)]
			all := keyring.AttestServers(t.Context(), names, test.nodes, c, attestSkew)
			if len(all) != len(names)+2 || all[len(all)-1].Name != "data" {
				t.Fatalf("%d attestations", len(all))
			}
			want := verdicts{keyring.SeveralNodes: test.several, keyring.ApartOfData: test.apart}
			if diff := cmp.Diff(want, verdictsOf(all[len(names)].Findings)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The data's Redis may write files and have replicas: they hold ciphertext.
func TestAttestData(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t, "--appendonly", "yes", "--maxmemory", "1mb", "--maxmemory-policy", "allkeys-lru").Client(t)
	want := verdicts{
		keyring.Answers: keyring.Pass, keyring.Version: keyring.Pass, keyring.Clock: keyring.Pass, keyring.Eviction: keyring.Warn,
		keyring.LazyExpiry: keyring.Pass,
	}
	expectData(t, client, want)
	for setting, value := range map[string]string{"maxmemory-policy": "noeviction", "lazyfree-lazy-expire": "no"} {
		if err := client.ConfigSet(t.Context(), setting, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	want[keyring.Eviction], want[keyring.LazyExpiry] = keyring.Pass, keyring.Warn
	expectData(t, client, want)
	want[keyring.LazyExpiry] = keyring.Unattested
	expectData(t, redistest.Start(t, "--rename-command", "CONFIG", "").Client(t), want)
}

func expectData(t *testing.T, client *redis.Client, want verdicts) {
	t.Helper()
	findings := keyring.AttestData(t.Context(), client, attestSkew)[0].Findings
	if diff := cmp.Diff(want, verdictsOf(findings)); diff != "" {
		t.Errorf("%s\n%+v", diff, findings)
	}
}

// What a server has evicted is lost, whatever it is set to now.
func TestAttestEvicted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client := redistest.Start(t).Client(t)
	client.Set(ctx, "k", strings.Repeat("x", 1<<16), time.Hour)
	client.ConfigSet(ctx, "maxmemory-policy", "volatile-ttl")
	if err := client.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	_ = client.Set(ctx, "another", "v", time.Hour) // makes room first
	client.ConfigSet(ctx, "maxmemory", "0")
	client.ConfigSet(ctx, "maxmemory-policy", "noeviction")
	look := func() keyring.Verdict {
		return verdictsOf(keyring.AttestData(ctx, client, attestSkew)[0].Findings)[keyring.Eviction]
	}
	if got := look(); got != keyring.Fail {
		t.Errorf("%s although a key was evicted", got)
	}
	client.ConfigResetStat(ctx)
	if got := look(); got != keyring.Pass {
		t.Errorf("%s after it was mended", got)
	}
}

func TestAttestDataCluster(t *testing.T) {
	t.Parallel()
	_, cluster := redistest.StartCluster(t, 3, false)
	all := keyring.AttestData(t.Context(), cluster, attestSkew)
	if len(all) != 3 {
		t.Fatalf("%d of 3 primaries", len(all))
	}
	ids := map[string]bool{}
	for _, a := range all {
		ids[a.RunID] = true
		if verdictsOf(a.Findings)[keyring.Eviction] != keyring.Pass {
			t.Errorf("%+v", a.Findings)
		}
	}
	if len(ids) != 3 {
		t.Error("the same server twice")
	}
}

func TestAttestKEK(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("/dev/shm", "mayfly-test-")
	if err != nil {
		t.Skip("no tmpfs at /dev/shm")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "kek")
	look := func(path string) verdicts {
		v := verdictsOf(keyring.AttestKEK(path, time.Now()))
		delete(v, keyring.NoSwap) // as this machine has it
		return v
	}
	expect := func(what string, got, want verdicts) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	expect("no file", look(path), verdicts{
		keyring.KEKThere: keyring.Unattested, keyring.KEKMode: keyring.Unattested,
		keyring.KEKVolatile: keyring.Unattested, keyring.KEKAdvances: keyring.Unattested,
	})
	if err := keyring.GenerateKEK(path, time.Now()); err != nil {
		t.Fatal(err)
	}
	good := verdicts{
		keyring.KEKThere: keyring.Pass, keyring.KEKMode: keyring.Pass,
		keyring.KEKVolatile: keyring.Pass, keyring.KEKAdvances: keyring.Pass,
	}
	expect("a new one", look(path), good)
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, before, before); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	good[keyring.KEKMode], good[keyring.KEKAdvances] = keyring.Fail, keyring.Warn
	expect("one that others read and nobody advances", look(path), good)
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	if got := look(path)[keyring.KEKThere]; got != keyring.Fail {
		t.Errorf("no key: %s", got)
	}
	if got := look(dir)[keyring.KEKThere]; got != keyring.Fail {
		t.Errorf("a folder: %s", got)
	}
	// No file system but tmpfs and ramfs is taken for memory.
	if got := look("/proc/self/stat")[keyring.KEKVolatile]; got != keyring.Fail {
		t.Errorf("not on tmpfs: %s", got)
	}
}
