package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// embeddedRedisClient is a client of what the test was given; errors are the test's end.
func embeddedRedisClient(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true, Protocol: 2})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// realEmbeddedRedis is the machine's redis-server. Without one the test is skipped,
// unless MAYFLY_REQUIRE_REDIS says that it must run.
func realEmbeddedRedis(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("MAYFLY_REQUIRE_REDIS") != "" {
			t.Fatal("no redis-server on the PATH")
		}
		t.Skip("no redis-server on the PATH")
	}
	addr, version, stop, err := startRedisServer(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	t.Logf("redis-server %s", version)
	return addr
}

func insideEmbeddedRedis(t *testing.T) string {
	t.Helper()
	addr, stop, err := Miniredis()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return addr
}

// embeddedMintScript does what the stores' scripts do: it judges by the server's own
// clock, creates once, and leaves no key without expiry.
var embeddedMintScript = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now >= tonumber(ARGV[1]) then return redis.error_reply('LATE the deadline has passed') end
local created = redis.call('HSETNX', KEYS[1], 'wrap', ARGV[2])
local expiry = redis.call('PEXPIREAT', KEYS[1], ARGV[1], 'LT')
return {created, expiry, redis.call('HGET', KEYS[1], 'wrap'), redis.call('HGET', KEYS[1], 'none')}`)

var embeddedPushScript = redis.NewScript(`
if redis.call('RPUSHX', KEYS[1], ARGV[2]) > 0 then return 'appended' end
redis.call('RPUSH', KEYS[1], ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[1], 'LT')
return redis.status_reply('created')`)

// everyByte is a value that no text would be.
var everyByte = func() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}()

// redisSession is what Mayfly does with a Redis; each answer is a line.
func redisSession(ctx context.Context, c *redis.Client) []string {
	var lines []string
	say := func(what string, cmd interface{ Result() (any, error) }) {
		answer, err := cmd.Result()
		if err != nil {
			answer = err
		}
		lines = append(lines, what+": "+strings.ReplaceAll(fmt.Sprint(answer), string(everyByte), "every byte"))
	}
	do := func(args ...any) *redis.Cmd { return c.Do(ctx, args...) }
	// Well apart, since one of the two clocks counts in nanoseconds.
	at := func(hours int) int64 { return time.Now().Add(time.Duration(hours) * time.Hour).UnixMilli() }

	say("append to nothing", do("RPUSHX", "list", "x"))
	say("which leaves nothing", do("EXISTS", "list"))
	say("create", embeddedPushScript.Run(ctx, c, []string{"list"}, at(3), everyByte))
	say("append", embeddedPushScript.Run(ctx, c, []string{"list"}, at(9), everyByte))
	say("append directly", do("RPUSHX", "list", everyByte))
	say("read back", do("LRANGE", "list", 0, -1))
	say("lengthen", do("PEXPIREAT", "list", at(5), "LT"))
	say("shorten", do("PEXPIREAT", "list", at(1), "LT"))
	say("lengthen again", do("PEXPIREAT", "list", at(2), "LT"))
	say("drop the first two", do("LTRIM", "list", 2, -1))
	say("how many are left", do("LLEN", "list"))
	say("expire in the past", do("PEXPIREAT", "list", at(-1), "LT"))
	say("which deletes", do("EXISTS", "list"))

	say("mint", embeddedMintScript.Run(ctx, c, []string{"key"}, at(3), everyByte))
	say("mint again, later", embeddedMintScript.Run(ctx, c, []string{"key"}, at(4), "other"))
	say("mint too late", embeddedMintScript.Run(ctx, c, []string{"dead"}, at(-1), "x"))
	say("which leaves nothing", do("EXISTS", "dead"))
	say("fill a hash", do("HSET", "key", "a", "1", "b", "2"))
	say("hash", do("HMGET", "key", "a", "b", "none"))
	say("its size", do("HLEN", "key"))
	say("does not lose its expiry", c.Eval(ctx, `return redis.call('PTTL', KEYS[1]) > 0 and 'kept' or 'lost'`, []string{"key"}))
	say("unlink", do("UNLINK", "key", "none"))

	pipe := c.TxPipeline()
	pushed, expires := pipe.Do(ctx, "RPUSH", "list", "x"), pipe.Do(ctx, "PEXPIREAT", "list", at(1), "LT")
	_, _ = pipe.Exec(ctx)
	say("create in MULTI", pushed)
	say("with its expiry", expires)
	say("swap", c.Eval(ctx, `return redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2], 'NX')`, []string{"lease"}, "me", at(1)))
	say("swap again", c.Eval(ctx, `return redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2], 'NX')`, []string{"lease"}, "you", at(1)))
	say("keys", do("DBSIZE"))

	say("no save points", do("CONFIG", "GET", "save"))
	say("no append-only file", do("CONFIG", "GET", "append*ly"))
	say("slow log", do("SLOWLOG", "LEN"))
	say("role", do("ROLE"))
	return lines
}

// The demo tells the same story on either server.
func TestEmbeddedRedisesAgree(t *testing.T) {
	t.Parallel()
	real, inside := embeddedRedisClient(t, realEmbeddedRedis(t)), embeddedRedisClient(t, insideEmbeddedRedis(t))
	want, got := redisSession(t.Context(), real), redisSession(t.Context(), inside)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("miniredis answers otherwise (-redis-server +miniredis):\n%s", diff)
	}
	for _, line := range want {
		t.Log(line)
	}
}

// onEachEmbeddedRedis runs a test on every kind of embedded Redis.
func onEachEmbeddedRedis(t *testing.T, test func(t *testing.T, c *redis.Client)) {
	t.Helper()
	for kind, start := range map[string]func(*testing.T) string{"redis-server": realEmbeddedRedis, "miniredis": insideEmbeddedRedis} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, embeddedRedisClient(t, start(t)))
		})
	}
}

func TestEmbeddedRedisExpires(t *testing.T) {
	t.Parallel()
	onEachEmbeddedRedis(t, func(t *testing.T, c *redis.Client) {
		ctx := t.Context()
		at := time.Now().Add(150 * time.Millisecond)
		if err := embeddedMintScript.Run(ctx, c, []string{"key"}, at.UnixMilli(), "x").Err(); err != nil {
			t.Fatal(err)
		}
		if expiry := c.PExpireTime(ctx, "key").Val().Milliseconds(); expiry < at.UnixMilli()-1 || expiry > at.UnixMilli() {
			t.Errorf("expires %d ms from when it should", expiry-at.UnixMilli())
		}
		embeddedEventually(t, "the key expired", func() bool { return c.Exists(ctx, "key").Val() == 0 })
		if early := time.Until(at); early > 2*time.Millisecond {
			t.Errorf("the key was gone %v before its time", early)
		}
	})
}

func TestEmbeddedRedisNamesItself(t *testing.T) {
	t.Parallel()
	onEachEmbeddedRedis(t, func(t *testing.T, c *redis.Client) {
		info, err := c.InfoMap(t.Context(), "server").Result()
		if err != nil {
			t.Fatal(err)
		}
		if id := info["Server"]["run_id"]; !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(id) {
			t.Errorf("run_id %q", id)
		}
		if _, err := embeddedRedisVersion(info["Server"]); err != nil {
			t.Error(err)
		}
		all, err := c.InfoMap(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		for section, field := range map[string]string{
			"Replication": "master_replid", "Persistence": "aof_enabled", "Stats": "evicted_keys", "Memory": "maxmemory_policy",
		} {
			if all[section][field] == "" {
				t.Errorf("INFO has no %s", field)
			}
		}
	})
}

// A data server and two keyring nodes: three servers, three run ids.
func TestEmbeddedRedisStartsSeveral(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for range 3 {
		addr, kind, stop, err := Redis(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		if kind == "" {
			t.Error("no kind")
		}
		ids[embeddedRedisClient(t, addr).InfoMap(t.Context(), "server").Val()["Server"]["run_id"]] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d servers instead of 3", len(ids))
	}
}

func TestEmbeddedRedisWithoutRedisServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	addr, kind, stop, err := Redis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if kind != "miniredis (no redis-server on the PATH)" {
		t.Errorf("kind %q", kind)
	}
	if err := embeddedRedisClient(t, addr).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

// A redis-server that does not run is passed over, with the reason told.
func TestEmbeddedRedisPassesOverABrokenServer(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(bin+"/redis-server", []byte("#!/bin/sh\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	_, kind, stop, err := Redis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if want := "miniredis (" + errRedisExited.Error() + ")"; kind != want {
		t.Errorf("kind %q, not %q", kind, want)
	}
}

func TestEmbeddedRedisRefusesAnOldServer(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"7.0.15": true, "8.4.0": true, "6.2.6": false, "": false} {
		if _, err := embeddedRedisVersion(map[string]string{"redis_version": version}); (err == nil) != want {
			t.Errorf("%q: %v", version, err)
		}
	}
	if own, _ := embeddedRedisVersion(map[string]string{"redis_version": "7.2.4", "valkey_version": "8.1.0"}); own != "8.1.0" {
		t.Errorf("Valkey is called %q", own)
	}
}

func TestEmbeddedRedisStops(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	addr, _, stop, err := Redis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop()
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Error("the port still answers")
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The server must not outlive a process that was killed: nobody would end it.
func TestEmbeddedRedisDiesWithItsParent(t *testing.T) {
	t.Parallel()
	if os.Getenv("MAYFLY_TEST_PARENT") != "" {
		fmt.Println("listening on", realEmbeddedRedis(t))
		select {}
	}
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("no redis-server on the PATH")
	}
	parent := exec.Command(os.Args[0], "-test.run=^TestEmbeddedRedisDiesWithItsParent$")
	parent.Env = append(os.Environ(), "MAYFLY_TEST_PARENT=1", "TMPDIR="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = parent.Process.Kill(), parent.Wait() }()
	var addr string
	if _, err := fmt.Fscanf(out, "listening on %s\n", &addr); err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = connection.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := connection.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("redis-server lives on")
	}
}
