// Package kafkatest gives tests a Kafka: the real Apache Kafka on this machine
// where Java and its jars can be had, else an embedded broker that speaks the
// protocol, and then a note of what was not run (with CI=true: a failure).
//
// Only tests import it. Its invariant: a server ends with the test process, by
// whatever way that ends, and its folder goes with it or at the next start.
//
// A test package that calls Start needs
//
//	func TestMain(m *testing.M) { kafkatest.Main(m) }
package kafkatest

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"
)

// startLimit is how long a broker may take until it answers. A JVM on a busy
// machine takes several times its usual 3 s.
const startLimit = 90 * time.Second

// server is a broker that can be stopped and started again on the same port with the same data.
type server interface {
	brokers() []string
	start(ctx context.Context) error
	// stop ends the broker in an orderly way and keeps its data.
	stop() error
	// kill ends the broker at once and keeps its data.
	kill()
	// remove kills the broker and deletes its data.
	remove()
	// data is the folder that it writes to.
	data() string
}

// Cluster is one running broker.
type Cluster struct {
	server server
	real   bool
	shared bool
}

var shared struct {
	sync.Mutex
	cluster *Cluster
	missing string // why there is no real Kafka, when there is none
}

// Start gives the broker that all tests of this process share; the first call
// starts it. Tests keep apart by topic and group names.
func Start(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		real, err := startReal(nil)
		if err == nil {
			shared.cluster = &Cluster{server: real, real: true, shared: true}
		} else {
			shared.missing = err.Error()
			embedded, err := startEmbedded()
			if err != nil {
				t.Fatalf("starting the embedded broker: %v", err)
			}
			shared.cluster = &Cluster{server: embedded, shared: true}
		}
	}
	if !shared.cluster.real {
		note(t, shared.missing)
	}
	return shared.cluster
}

// StartOwn gives the test a broker of its own, which it may stop and start.
// It is removed when the test ends.
func StartOwn(t testing.TB, options ...Option) *Cluster {
	t.Helper()
	real, err := startReal(options)
	if err == nil {
		t.Cleanup(real.remove)
		return &Cluster{server: real, real: true}
	}
	note(t, err.Error())
	return StartEmbedded(t)
}

// StartEmbedded gives the test an embedded broker of its own, even where a real Kafka can be had.
func StartEmbedded(t testing.TB) *Cluster {
	t.Helper()
	embedded, err := startEmbedded()
	if err != nil {
		t.Fatalf("starting the embedded broker: %v", err)
	}
	t.Cleanup(embedded.remove)
	return &Cluster{server: embedded}
}

// Main runs the tests of a package, removes the shared broker, and exits.
func Main(m *testing.M) {
	code := m.Run()
	shared.Lock()
	if shared.cluster != nil {
		shared.cluster.server.remove()
	}
	shared.Unlock()
	os.Exit(code)
}

// Brokers are the addresses to begin with, host:port.
func (c *Cluster) Brokers() []string { return c.server.brokers() }

// Folder is where the broker keeps its data and its own log.
func (c *Cluster) Folder() string { return c.server.data() }

// Real reports whether this is Apache Kafka and not the embedded broker.
func (c *Cluster) Real() bool { return c.real }

// Stop ends the broker; its data stays. Only for a cluster of the test's own.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	c.mustBeOwn(t)
	if err := c.server.stop(); err != nil {
		t.Fatalf("stopping the broker: %v", err)
	}
}

// Kill ends the broker as a power cut would; its data stays. Only for a cluster of the test's own.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	c.mustBeOwn(t)
	c.server.kill()
}

// StartAgain starts a stopped broker on its old port, with its old data, and waits until it answers.
func (c *Cluster) StartAgain(t testing.TB) {
	t.Helper()
	c.mustBeOwn(t)
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := c.server.start(ctx); err != nil {
		t.Fatalf("starting the broker again: %v", err)
	}
}

// Restart is Stop and StartAgain.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.Stop(t)
	c.StartAgain(t)
}

func (c *Cluster) mustBeOwn(t testing.TB) {
	t.Helper()
	if c.shared {
		t.Fatal("other tests use this broker: stop one that StartOwn gave")
	}
}
