package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Proxy stands before a server and ends connections between two commands: the server has
// executed everything up to there, and the client is never told.
type Proxy struct {
	Addr   string
	server string
	after  atomic.Int64
	cuts   atomic.Int64
}

// Proxy listens until the test ends.
func (s *Server) Proxy(t testing.TB) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &Proxy{Addr: listener.Addr().String(), server: s.Addr}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

// CutAfter ends every connection once so many commands have gone through it; 0: none.
func (p *Proxy) CutAfter(commands int) { p.after.Store(int64(commands)) }

// Cuts is how many connections were ended.
func (p *Proxy) Cuts() int { return int(p.cuts.Load()) }

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	commands := bufio.NewReader(client)
	for n := int64(1); ; n++ {
		command, err := readCommand(commands)
		if err != nil {
			return
		}
		if _, err := server.Write(command); err != nil {
			return
		}
		if after := p.after.Load(); after > 0 && n >= after {
			p.cuts.Add(1)
			// The server reads to the end of what it was sent, then finds it ended.
			_ = server.(*net.TCPConn).CloseWrite()
			_ = client.Close()
			_, _ = io.Copy(io.Discard, server)
			return
		}
	}
}

// readCommand reads one command, an array of bulk strings, as it is sent.
func readCommand(from *bufio.Reader) (command []byte, err error) {
	count, command, err := readLength(from, '*', nil)
	for range count {
		var length int
		if length, command, err = readLength(from, '$', command); err != nil {
			return nil, err
		}
		start := len(command)
		command = append(command, make([]byte, length+2)...)
		if _, err := io.ReadFull(from, command[start:]); err != nil {
			return nil, err
		}
	}
	return command, err
}

func readLength(from *bufio.Reader, kind byte, before []byte) (int, []byte, error) {
	line, err := from.ReadString('\n')
	if err != nil {
		return 0, nil, err
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil || line[0] != kind || n < 0 {
		return 0, nil, fmt.Errorf("not a command of the Redis protocol")
	}
	return n, append(before, line...), nil
}
