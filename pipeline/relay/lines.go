package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayfly/pipeline/event"
	"mayfly/pipeline/produce"
	"mayfly/retention/secret"
)

// lines takes the lines of a log from connections. There are no answers: a sender
// that is faster than Kafka is held up, and what can't be sealed is counted.
type lines struct {
	config SocketConfig
	deps   Dependencies
	format *produce.Format
}

// maxConnections bounds how many senders there are at a time, each with a buffer
// of two of the longest lines.
const maxConnections = 256

// acceptPause is how long nobody is taken after somebody could not be.
const acceptPause = time.Second

func newLines(config SocketConfig, deps Dependencies) (*lines, error) {
	format, err := produce.NewFormat(config.Format, deps.Fields, config.Zone)
	if err != nil {
		return nil, fmt.Errorf("relay.socket: %w", err)
	}
	return &lines{config, deps, format}, nil
}

// serve takes connections until ctx ends, and ends them then: what a sender has
// not got rid of it keeps.
func (l *lines) serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	l.deps.Log.Info("relay listens for lines", zap.Stringer("address", listener.Addr()))
	var senders sync.WaitGroup
	defer senders.Wait()
	free := make(chan struct{}, maxConnections)
	for {
		free <- struct{}{}
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Too many open files, say, by whoever opens them: it passes.
			l.deps.Log.Warn("a sender of lines was not taken; trying again", zap.Error(err))
			<-free
			select {
			case <-ctx.Done():
			case <-time.After(acceptPause):
			}
			continue
		}
		senders.Go(func() {
			defer func() { <-free }()
			l.read(ctx, conn)
		})
	}
}

// read takes the lines of one sender.
func (l *lines) read(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	secret.GrowStack()
	log, ok := notHTTP(wiping{secret.Conn{Conn: conn}})
	if !ok {
		l.deps.Log.Warn("a sender of lines speaks HTTP, as a web page can, and was cut off")
		return
	}
	err := l.format.Read(log, func(e *event.Event, refusal event.Refusal) error {
		if refusal != event.Accepted {
			l.deps.Sealer.Refused(refusal)
			return nil
		}
		_, err := l.deps.Sealer.Add(ctx, e, nil)
		return err
	})
	if err != nil && ctx.Err() == nil {
		l.deps.Log.Info("a sender of lines has ended badly") // what the error says may come from the lines
	}
}

// wiping leaves nothing on the stack of who waits for the next lines.
type wiping struct{ io.Reader }

func (w wiping) Read(p []byte) (int, error) {
	secret.WipeStack()
	return w.Reader.Read(p)
}

// notHTTP looks at the first bytes of a sender. A web page may send a POST of any text
// to any port of its reader's machine, and lines of its body would be events.
func notHTTP(conn io.Reader) (io.Reader, bool) {
	first := make([]byte, len(http.MethodPost)+1)
	n, _ := io.ReadFull(conn, first) // what ends here ends below
	first = first[:n]
	return io.MultiReader(bytes.NewReader(first), conn), string(first) != http.MethodPost+" "
}
