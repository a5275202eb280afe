package secret_test

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mayfly/retention/secret"
)

func TestOverwritesReadsTheEnvironment(t *testing.T) {
	for settings, want := range map[string]bool{
		"": false, "clobberfree=1": true, "clobberfree=0": false, "madvdontneed=1,clobberfree=1": true, "clobberfree=1,clobberfree=0": false,
	} {
		t.Setenv("GODEBUG", settings)
		if secret.Overwrites() != want {
			t.Errorf("%q: %v", settings, !want)
		}
	}
}

// (Not parallel: another test's collection would empty the pool, too.)
func TestScrubEmptiesPools(t *testing.T) {
	var pool sync.Pool
	for range 100 { // under the race detector some are dropped anyway
		pool.Put(new([1024]byte))
	}
	if pool.Get() == nil {
		t.Fatal("the pool is empty at once: the test proves nothing")
	}
	secret.Scrub()
	if pool.Get() != nil {
		t.Error("the pool still has what it had")
	}
}

func TestConnHasAnEmptyBufferWhileItWaits(t *testing.T) {
	t.Parallel()
	here, there := net.Pipe()
	defer there.Close()
	conn := secret.Conn{Conn: here}
	defer conn.Close()
	go func() { _, _ = io.WriteString(there, "203.0.113.7") }()
	buffer := make([]byte, 4096)
	if n, err := conn.Read(buffer); n != 11 || err != nil {
		t.Fatal(n, err)
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(buffer); err == nil {
		t.Fatal("there was nothing to read")
	}
	if strings.Trim(string(buffer), "\x00") != "" {
		t.Error("what was read before is still there")
	}
}
