package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
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
	"time"
)

// folderPrefix is followed by the id of the test process, so that a later one
// can tell the folders that nobody uses any more.
const folderPrefix = "mayfly-kafka-"

// stopLimit is how long an orderly stop may take before the broker is killed.
const stopLimit = 20 * time.Second

// jvm is a single-node Apache Kafka in a Java process.
type jvm struct {
	java, jars, folder string
	broker, controller string // host:port

	mutex   sync.Mutex // guards process and exited: a clean-up may meet a running start
	process *os.Process
	exited  chan struct{} // closed once the process is gone
}

func startReal(options []Option) (*jvm, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, errors.New("java is not installed")
	}
	jars, err := findJars()
	if err != nil {
		return nil, err
	}
	removeAbandoned()
	// A free port may be taken by somebody else before Kafka listens.
	var server *jvm
	for range 3 {
		if server, err = prepare(java, jars, options); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		err = server.start(ctx)
		cancel()
		if err == nil {
			return server, nil
		}
		server.remove()
	}
	return nil, err
}

// prepare makes and formats the folder of a new broker.
func prepare(java, jars string, options []Option) (*jvm, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", folderPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return nil, fmt.Errorf("making the broker's folder: %w", err)
	}
	server := &jvm{java: java, jars: jars, folder: folder, broker: ports[0], controller: ports[1]}
	if err := server.format(options); err != nil {
		server.remove()
		return nil, err
	}
	return server, nil
}

func (s *jvm) format(options []Option) error {
	if err := os.WriteFile(s.properties(), serverProperties(s, options), 0o644); err != nil {
		return fmt.Errorf("writing server.properties: %w", err)
	}
	output, err := s.command("-Xmx256m", "kafka.tools.StorageTool", "format", "-t", clusterID(), "-c", s.properties()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("formatting Kafka's folder: %w: %s", err, lastLine(output))
	}
	return nil
}

func (s *jvm) data() string { return s.folder }

func (s *jvm) properties() string { return filepath.Join(s.folder, "server.properties") }

// command runs a class of Kafka's jars; the fast start of the serial collector
// and the first compiler tier suits brokers that live for seconds. Java unpacks
// native libraries into its temporary folder, and a killed broker leaves them.
func (s *jvm) command(heap string, arguments ...string) *exec.Cmd {
	return exec.Command(s.java, append([]string{heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.io.tmpdir=" + s.folder, "-cp", filepath.Join(s.jars, "*")}, arguments...)...)
}

func (s *jvm) brokers() []string { return []string{s.broker} }

func (s *jvm) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.folder, "server.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the broker's log: %w", err)
	}
	defer log.Close()
	command := s.command("-Xmx512m", "kafka.Kafka", s.properties())
	command.Stdout, command.Stderr, command.SysProcAttr = log, log, childAttributes()

	started, exited := make(chan error), make(chan struct{})
	go func() {
		// The kernel ends the child with the thread that started it, so this
		// thread stays until the child is gone.
		runtime.LockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait()
		}
		close(exited)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting java: %w", err)
	}
	s.mutex.Lock()
	s.process, s.exited = command.Process, exited
	s.mutex.Unlock()
	return s.waitReady(ctx, exited)
}

func (s *jvm) waitReady(ctx context.Context, exited <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ready := make(chan error, 1)
	go func() { ready <- waitAnswering(ctx, s.brokers()) }()
	select {
	case err := <-ready:
		return err
	case <-exited:
		output, _ := os.ReadFile(filepath.Join(s.folder, "server.log"))
		return fmt.Errorf("the broker ended while starting: %s", lastLine(output))
	}
}

func (s *jvm) stop() error {
	s.mutex.Lock()
	process, exited := s.process, s.exited
	s.mutex.Unlock()
	if process == nil {
		return nil
	}
	if err := process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling the broker: %w", err)
	}
	select {
	case <-exited:
	case <-time.After(stopLimit):
		s.kill()
	}
	return nil
}

func (s *jvm) kill() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.process != nil {
		_ = s.process.Kill()
		<-s.exited
	}
}

func (s *jvm) remove() {
	s.kill()
	_ = os.RemoveAll(s.folder)
}

// removeAbandoned deletes the folders of test processes that were killed.
func removeAbandoned() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	for _, folder := range folders {
		id, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), folderPrefix), "-")
		if pid, err := strconv.Atoi(id); err == nil && !alive(pid) {
			_ = os.RemoveAll(folder)
		}
	}
}

// freePorts finds loopback ports that nobody listens on, as host:port.
func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("finding a free port: %w", err)
		}
		defer listener.Close() // all stay open until all are found, so that they differ
		ports = append(ports, listener.Addr().String())
	}
	return ports, nil
}

// clusterID is Kafka's spelling of a random UUID, which must not look like a flag.
func clusterID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func lastLine(output []byte) string {
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	return string(lines[len(lines)-1])
}
