package relay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"mayfly/pipeline/edge"
	"mayfly/pipeline/produce"
)

// Config is where events come in, and how they are sealed.
type Config struct {
	Listen      string        `yaml:"listen" help:"address of the relay's POST /v1/events, metrics and health, host:port; events arrive there in the clear, so keep it on the machine that they come from"`
	MaxBody     int64         `yaml:"max_body" help:"most bytes of one request"`
	MaxRequests int           `yaml:"max_requests" help:"most requests that are read at a time, each with the memory of its body; what comes besides is answered with 503"`
	Timeout     time.Duration `yaml:"timeout" help:"how long a request may wait for room, for a key and for Kafka before it is answered with 503"`
	Async       bool          `yaml:"async" help:"answer 202 once events wait to be sealed, not when Kafka has them: what a crash loses then, nobody knows"`
	Socket      SocketConfig  `yaml:"socket"`
	Batch       edge.Config   `yaml:"batch"`
}

// SocketConfig is a second way in, off until Listen is set.
type SocketConfig struct {
	Listen string `yaml:"listen" help:"unix:/path or tcp:host:port, where lines of a log are taken, without answers; empty: nowhere"`
	Format string `yaml:"format" help:"what the lines are: json or sshd"`
	Zone   string `yaml:"zone" help:"time zone of lines that name none"`
}

// DefaultConfig listens on this machine alone.
func DefaultConfig() Config {
	return Config{
		Listen: "127.0.0.1:8081", MaxBody: 1 << 20, MaxRequests: 64, Timeout: 10 * time.Second,
		Socket: SocketConfig{Format: produce.JSON, Zone: "UTC"},
		Batch:  edge.DefaultConfig(),
	}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	network, address, found := strings.Cut(c.Socket.Listen, ":")
	switch {
	case c.Listen == "":
		return errors.New("relay.listen: host:port is needed")
	case c.MaxBody < 1<<10 || c.MaxBody > 1<<30:
		return errors.New("relay.max_body: must be between 1024 and 1073741824 bytes")
	case c.MaxRequests < 1 || c.MaxRequests > 1<<16:
		return errors.New("relay.max_requests: must be between 1 and 65536")
	case c.Timeout < time.Second || c.Timeout > time.Minute:
		return errors.New("relay.timeout: must be between 1s and 1m")
	case c.Socket.Listen != "" && (!found || address == "" || network != "unix" && network != "tcp"):
		return errors.New("relay.socket.listen: must be unix:/path or tcp:host:port")
	case !slices.Contains(produce.Formats, c.Socket.Format):
		return fmt.Errorf("relay.socket.format: must be one of %v", produce.Formats)
	}
	return c.Batch.Validate()
}

// listen opens the socket. One that a dead process has left behind is replaced; it
// is its owner's and group's alone.
func (c SocketConfig) listen(ctx context.Context) (net.Listener, error) {
	network, address, _ := strings.Cut(c.Listen, ":")
	if network == "unix" {
		if info, err := os.Lstat(address); err == nil && info.Mode().Type() == fs.ModeSocket {
			if err := os.Remove(address); err != nil {
				return nil, fmt.Errorf("relay.socket.listen: %w", err)
			}
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, network, address)
	if err == nil && network == "unix" {
		if err = os.Chmod(address, 0o660); err != nil { //nolint:gosec // the group's services write to it
			err = errors.Join(err, listener.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("relay.socket.listen: %w", err)
	}
	return listener, nil
}
