package secret

import (
	"io"
	"net"
)

// readBuffer is more than a reader in front of a connection reads at once: bufio
// has 4 KiB, crypto/tls some 33. Who reads with a larger slice clears it himself.
const readBuffer = 64 << 10

// Conn is a connection whose reader keeps nothing that it has read already: while it waits
// for the next byte its buffer is empty. A connection may live for days, and its buffer with it.
type Conn struct{ net.Conn }

// Read reads. All of p is the reader's scratch space (io.Reader).
func (c Conn) Read(p []byte) (int, error) {
	if len(p) <= readBuffer {
		clear(p)
	}
	return c.Conn.Read(p)
}

// ReadFrom lets net/http hand an answer through without a copy.
func (c Conn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.Conn, r) }

// Listener makes every connection that it accepts a Conn.
type Listener struct{ net.Listener }

// Accept waits for the next one.
func (l Listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Conn{conn}, nil
}
