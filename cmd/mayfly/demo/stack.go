package demo

import (
	"sync"

	"mayfly/cmd/mayfly/config"

	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"mayfly/cmd/mayfly/embedded"
	"mayfly/cmd/mayfly/process"
	"mayfly/retention"
	"mayfly/retention/keyring"
)

const (
	topic      = "connections"
	partitions = 4
	ready      = 30 * time.Second // how long everything may take to work
)

// installation is what a demo runs on: a broker, three Redis and all roles.
type installation struct {
	process  *process.Process
	brokers  []string
	redis    string // its kind
	data     string // the data's Redis
	kekFile  string
	url      string
	receipts string // folder of the receipt log
	notes    []string
	cleanups []func()

	stop  context.CancelFunc // of the roles
	ended chan error         // what the roles ended with

	halting sync.Once
	halted  error
}

// install returns once events can be stored and looked up. It outlives
// ctx, which only bounds the start: close ends it.
func install(ctx context.Context, listen string, policy retention.Policy, log *zap.Logger, options ...process.Option) (*installation, error) {
	s := &installation{ended: make(chan error, 1), stop: func() {}}
	c, err := s.startServers(ctx, policy)
	if err == nil {
		err = s.startRoles(ctx, c, listen, log, options)
	}
	if err == nil {
		err = s.ready(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// startServers starts what Mayfly needs around it, and says where that is.
func (s *installation) startServers(ctx context.Context, policy retention.Policy) (config.Config, error) {
	c := config.Default()
	folder, err := s.folder("")
	if err != nil {
		return c, err
	}
	memory, err := s.folder("/dev/shm") // no disk sees the key-encryption key
	if err != nil {
		memory = folder
	}
	s.kekFile = filepath.Join(memory, "kek")
	if err := keyring.GenerateKEK(s.kekFile, time.Now()); err != nil {
		return c, err
	}
	// A broker that forgets quickly, but not what ingest is about to read.
	brokers, stop, err := embedded.Kafka(ctx, topic, partitions, max(policy.Window, 10*time.Second), filepath.Join(folder, "kafka"))
	if err != nil {
		return c, err
	}
	s.cleanups = append(s.cleanups, stop)
	var redis [3]string
	for i := range redis {
		var stop func()
		if redis[i], s.redis, stop, err = embedded.Redis(ctx); err != nil {
			return c, err
		}
		s.cleanups = append(s.cleanups, stop)
	}
	s.brokers, s.data = brokers, redis[0]
	c.Kafka.Brokers, c.Kafka.Topics = brokers, []string{topic}
	c.Kafka.FetchWait = 100 * time.Millisecond
	c.Redis.Addrs = redis[:1]
	c.Keyring.Nodes = []string{"redis://" + redis[1], "redis://" + redis[2]}
	c.Keyring.KEKFile = s.kekFile
	c.Policies = retention.Policies{policy}
	c.Ingest.Linger, c.Ingest.CommitDelay = 250*time.Millisecond, time.Second
	c.Warden.Shards = 2
	s.receipts = filepath.Join(folder, "receipts")
	c.Desk.ReceiptsDir = s.receipts
	return c, nil
}

func (s *installation) folder(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "mayfly-demo-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the demo: %w", err)
	}
	s.cleanups = append(s.cleanups, func() { _ = os.RemoveAll(dir) })
	return dir, nil
}

func (s *installation) startRoles(ctx context.Context, c config.Config, listen string, log *zap.Logger, options []process.Option) error {
	listener, err := s.listen(ctx, listen)
	if err != nil {
		return err
	}
	c.Desk.Listen = listener.Addr().String()
	s.url = "http://" + c.Desk.Listen
	s.process, err = process.New(c, process.All, log, append(options, process.OnListener(listener))...)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	// Ctrl-C ends the traffic; the roles go on until everything has been checked.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.ended <- s.process.Run(run) }()
	return nil
}

// listen opens the page's port; where nobody chose it and it is taken, another.
func (s *installation) listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil && address == listen {
		s.notes = append(s.notes, "port 8080 is taken, so the page is on a free one")
		listener, err = config.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return listener, nil
}

// ready waits until every part says that it works and the living epochs have
// their keys.
func (s *installation) ready(ctx context.Context) error {
	deadline := time.Now().Add(ready)
	for {
		err := s.trouble()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("starting the demo: %w", err)
		}
		select {
		case <-ctx.Done():
			return errors.New("interrupted before the demo had begun")
		case ended := <-s.ended:
			s.ended <- ended
			return fmt.Errorf("starting the demo: %w", ended)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *installation) trouble() error {
	for part, err := range s.process.Ready() {
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	epochs := s.process.Warden.Epochs()
	for _, e := range epochs {
		if e.Nodes < s.process.Keyring.Nodes() && e.Deadline.After(time.Now()) {
			return errors.New("warden: an epoch has no key yet")
		}
	}
	if len(epochs) == 0 {
		return errors.New("warden: no epoch has a key yet")
	}
	return nil
}

// halt ends the roles: they store and commit what they have, and close their log.
func (s *installation) halt() error {
	s.halting.Do(func() {
		if s.process == nil {
			return
		}
		s.stop()
		err := <-s.ended
		s.ended <- err
		s.halted = errors.Join(err, s.process.Close())
	})
	return s.halted
}

// close ends everything and removes what it wrote.
func (s *installation) close() error {
	err := s.halt()
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	return err
}
