// Package embedded starts the servers that the demo needs on this machine: a broker
// that speaks Kafka's protocol, and Redis.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// embeddedRedisStart is how long a redis-server may take to answer.
const embeddedRedisStart = 10 * time.Second

// Redis runs a Redis on a free loopback port: the machine's
// redis-server or valkey-server, without persistence, or else one inside this
// process. kind says which, for people to read. Every call starts another one.
func Redis(ctx context.Context) (addr, kind string, stop func(), err error) {
	why := "no redis-server on the PATH"
	for _, name := range []string{"redis-server", "valkey-server"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		addr, version, stop, err := startRedisServer(ctx, path)
		if err == nil {
			return addr, name + " " + version, stop, nil
		}
		if ctx.Err() != nil {
			return "", "", nil, err
		}
		why = err.Error()
	}
	addr, stop, err = Miniredis()
	if err != nil {
		return "", "", nil, err
	}
	return addr, "miniredis (" + why + ")", stop, nil
}

// startRedisServer runs the server at path. The free port is found before the
// server takes it, so somebody else may be quicker: then it is tried again.
func startRedisServer(ctx context.Context, path string) (addr, version string, stop func(), err error) {
	for range 3 {
		var port int
		if port, err = freeLoopbackPort(); err != nil {
			return "", "", nil, fmt.Errorf("finding a free port for %s: %w", path, err)
		}
		var server *redisServer
		if server, err = launchRedis(path, port); err != nil {
			return "", "", nil, err
		}
		version, err = server.ready(ctx)
		if err == nil {
			return server.addr, version, server.stop, nil
		}
		server.stop()
		if !errors.Is(err, errRedisExited) {
			break
		}
	}
	return "", "", nil, err
}

func freeLoopbackPort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// errRedisExited: the server ended by itself, most likely since its port was taken.
var errRedisExited = errors.New("redis-server exited at once")

// redisServer is a server process of ours.
type redisServer struct {
	addr   string
	pid    int
	exited chan struct{}
	stop   func()
}

// launchRedis starts the process. It is ended by its process id, and by the
// kernel when this process dies without a word.
func launchRedis(path string, port int) (*redisServer, error) {
	dir, err := os.MkdirTemp("", "mayfly-redis-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for redis-server: %w", err)
	}
	cmd := exec.Command(path,
		"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir,
		"--save", "", "--appendonly", "no", "--lazyfree-lazy-expire", "yes", "--daemonize", "no",
		// A log or a slow log could hold what a key or a value says.
		"--loglevel", "warning", "--slowlog-max-len", "0", "--crash-log-enabled", "no",
	)
	cmd.SysProcAttr = ownProcess()
	s := &redisServer{
		addr:   net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		exited: make(chan struct{}),
	}
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the *thread* that started the
		// child ends, so this one is kept until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			close(s.exited)
		}
	}()
	if err := <-started; err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("starting redis-server: %w", err)
	}
	s.pid = cmd.Process.Pid
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it keeps nothing that it would have to save
		<-s.exited
		_ = os.RemoveAll(dir)
	})
	return s, nil
}

// ready waits until this very server answers, and gives its version.
func (s *redisServer) ready(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, embeddedRedisStart)
	defer cancel()
	client := redis.NewClient(&redis.Options{
		Addr: s.addr, MaxRetries: -1, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer client.Close()
	for {
		if s.listens() {
			info, err := client.InfoMap(ctx, "server").Result()
			if err == nil && info["Server"]["process_id"] == strconv.Itoa(s.pid) {
				return embeddedRedisVersion(info["Server"])
			}
		}
		select {
		case <-s.exited:
			return "", errRedisExited
		case <-ctx.Done():
			return "", fmt.Errorf("waiting for redis-server: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// listens looks at the port by itself: the client would log each refusal.
func (s *redisServer) listens() bool {
	connection, err := net.DialTimeout("tcp", s.addr, time.Second)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// embeddedRedisVersion refuses servers before 7.0: they have no PEXPIREAT … LT, on
// which every expiry rests. (Valkey's own number is beside the one it is
// compatible with.)
func embeddedRedisVersion(server map[string]string) (string, error) {
	version := server["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return "", errors.New("redis-server is older than 7.0")
	}
	if own := server["valkey_version"]; own != "" {
		return own, nil
	}
	return version, nil
}
