// Package redistest starts real Redis servers for tests, on free loopback ports
// with their data in temporary folders, and stops them by process id.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is one running redis-server.
type Server struct {
	Addr string
	Dir  string // its working folder: append-only file, dump.rdb, redis.log
	args []string
	env  []string // besides this process's own

	program string // "" is redis-server
	config  string // its configuration file, where it has one

	process *os.Process
	exited  chan struct{} // closed once the process is gone
}

// Start runs a redis-server without persistence; args are further settings
// ("--appendonly", "yes"). Where there is no redis-server the test is skipped,
// and the reason is noted; with CI=true it fails.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := prepare(t, args)
	s.Run(t)
	t.Cleanup(s.Kill)
	return s
}

func prepare(t testing.TB, args []string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		missing(t, "no redis-server on the PATH (Debian: apt-get install redis-server)")
	}
	return &Server{Addr: freeAddr(t), Dir: t.TempDir(), args: args}
}

// Run starts the server, again after Kill on the same address and folder.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	program := "redis-server"
	args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", s.Dir, "--logfile", filepath.Join(s.Dir, "redis.log"), "--daemonize", "no"}
	if s.program != "" {
		program, args = s.program, append([]string{s.config}, args...)
	} else {
		args = append(append(args, "--save", "", "--appendonly", "no", "--lazyfree-lazy-expire", "yes"), s.args...)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel kills the child with the thread that started it, so this
		// thread stays, and does nothing else, until the child is gone.
		runtime.LockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	s.process, s.exited = cmd.Process, exited
	client := redis.NewClient(&redis.Options{Addr: s.Addr, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := client.Ping(context.Background()).Err()
		if err == nil || strings.HasPrefix(err.Error(), "NOAUTH") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s on %s does not answer", program, s.Addr)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Kill()
	<-s.exited
	s.process = nil
}

// PID is the server's process id, for who looks into its memory.
func (s *Server) PID() int { return s.process.Pid }

// Suspend stops the server in the middle of whatever it does, as a frozen virtual
// machine is stopped, until Resume or the end of the test.
func (s *Server) Suspend(t testing.TB) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatalf("suspending redis-server: %v", err)
	}
}

// Resume lets a suspended server go on.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	if err := s.process.Signal(syscall.SIGCONT); err != nil {
		t.Fatalf("resuming redis-server: %v", err)
	}
}

// Client opens a client that is closed with the test.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.Addr, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Monitor gives every command that the server executes from now on, a line each.
func (s *Server) Monitor(t testing.TB) *bufio.Scanner {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<24)
	if !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("MONITOR answered %q", lines.Text())
	}
	return lines
}

// URL names the server as the configuration does.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

var handedOut sync.Map

func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
		if _, taken := handedOut.LoadOrStore(port, true); !taken {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		}
	}
	t.Fatal("no free port")
	return ""
}

func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	if notes := os.Getenv("MAYFLY_TEST_NOTES"); notes != "" {
		if f, err := os.OpenFile(notes, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
			_, _ = fmt.Fprintf(f, "not run: %s: %s\n", t.Name(), reason)
			_ = f.Close()
		}
	}
	t.Skip(reason)
}
