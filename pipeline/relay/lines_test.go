package relay

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// crowded is a listener of a process that has too many files open for a while.
type crowded struct {
	net.Listener
	fails int
	taken chan struct{}
}

func (c *crowded) Addr() net.Addr { return &net.UnixAddr{Name: "lines", Net: "unix"} }

func (c *crowded) Accept() (net.Conn, error) {
	if c.fails > 0 {
		c.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	close(c.taken)
	return nil, net.ErrClosed
}

func (*crowded) Close() error { return nil }

// Who opens too many files ends nothing.
func TestASenderThatCanNotBeTakenEndsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const fails = maxConnections + 10 // each gives its place back
		listener := &crowded{fails: fails, taken: make(chan struct{})}
		l := &lines{deps: Dependencies{Log: zap.NewNop()}}
		began := time.Now()
		if err := l.serve(t.Context(), listener); err != nil {
			t.Fatal(err)
		}
		<-listener.taken
		if took := time.Since(began); took != fails*acceptPause {
			t.Errorf("it tried again for %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.serve(ctx, &crowded{fails: 1 << 30}); err != nil {
			t.Error(err)
		}
	})
}

// The lines hold addresses: the socket is its owner's and group's alone.
func TestTheSocketIsNotEverybodys(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lines")
	listener, err := SocketConfig{Listen: "unix:" + path}.listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
