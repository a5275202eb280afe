package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
)

const (
	demoTopic      = "connections"
	demoPartitions = 4
	demoReady      = 30 * time.Second // how long everything may take to work
)

// demoStack is what a demo runs on: a broker, three Redis and all roles.
type demoStack struct {
	process  *process
	brokers  []string
	redis    string // its kind
	data     string // the data's Redis
	kekFile  string
	url      string
	notes    []string
	cleanups []func()

	stop  context.CancelFunc // of the roles
	ended chan error         // what the roles ended with
}

// startDemoStack returns once events can be stored and looked up. It outlives
// ctx, which only bounds the start: close ends it.
func startDemoStack(ctx context.Context, listen string, policy retention.Policy, log *zap.Logger) (*demoStack, error) {
	s := &demoStack{ended: make(chan error, 1), stop: func() {}}
	config, err := s.startServers(ctx, policy)
	if err == nil {
		err = s.startRoles(ctx, config, listen, log)
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
func (s *demoStack) startServers(ctx context.Context, policy retention.Policy) (Config, error) {
	config := defaultConfig()
	folder, err := s.folder("")
	if err != nil {
		return config, err
	}
	memory, err := s.folder("/dev/shm") // no disk sees the key-encryption key
	if err != nil {
		memory = folder
	}
	s.kekFile = filepath.Join(memory, "kek")
	if err := keyring.GenerateKEK(s.kekFile, time.Now()); err != nil {
		return config, err
	}
	// A broker that forgets quickly, but not what ingest is about to read.
	brokers, stop, err := startEmbeddedKafka(ctx, demoTopic, demoPartitions, max(policy.Window, 10*time.Second), filepath.Join(folder, "kafka"))
	if err != nil {
		return config, err
	}
	s.cleanups = append(s.cleanups, stop)
	var redis [3]string
	for i := range redis {
		var stop func()
		if redis[i], s.redis, stop, err = startEmbeddedRedis(ctx); err != nil {
			return config, err
		}
		s.cleanups = append(s.cleanups, stop)
	}
	s.brokers, s.data = brokers, redis[0]
	config.Kafka.Brokers, config.Kafka.Topics = brokers, []string{demoTopic}
	config.Kafka.FetchWait = 100 * time.Millisecond
	config.Redis.Addrs = redis[:1]
	config.Keyring.Nodes = []string{"redis://" + redis[1], "redis://" + redis[2]}
	config.Keyring.KEKFile = s.kekFile
	config.Policies = retention.Policies{policy}
	config.Ingest.Linger, config.Ingest.CommitDelay = 250*time.Millisecond, time.Second
	config.Warden.Shards = 2
	config.Desk.ReceiptsDir = filepath.Join(folder, "receipts")
	return config, nil
}

func (s *demoStack) folder(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "mayfly-demo-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the demo: %w", err)
	}
	s.cleanups = append(s.cleanups, func() { _ = os.RemoveAll(dir) })
	return dir, nil
}

func (s *demoStack) startRoles(ctx context.Context, config Config, listen string, log *zap.Logger) error {
	listener, err := s.listen(ctx, listen)
	if err != nil {
		return err
	}
	config.Desk.Listen = listener.Addr().String()
	s.url = "http://" + config.Desk.Listen
	s.process, err = newProcess(config, roles{ingest: true, warden: true, desk: true}, log)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.process.listener = listener
	// Ctrl-C ends the traffic; the roles go on until everything has been checked.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	go func() { s.ended <- s.process.run(run) }()
	return nil
}

// listen opens the page's port; where nobody chose it and it is taken, another.
func (s *demoStack) listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil && address == demoListen {
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
func (s *demoStack) ready(ctx context.Context) error {
	deadline := time.Now().Add(demoReady)
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

func (s *demoStack) trouble() error {
	for part, err := range s.process.ready() {
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	epochs := s.process.warden.Epochs()
	for _, e := range epochs {
		if e.Nodes < s.process.ring.Nodes() && e.Deadline.After(time.Now()) {
			return errors.New("warden: an epoch has no key yet")
		}
	}
	if len(epochs) == 0 {
		return errors.New("warden: no epoch has a key yet")
	}
	return nil
}

// halt ends the roles: they store and commit what they have.
func (s *demoStack) halt() error {
	if s.process == nil {
		return nil
	}
	s.stop()
	err := <-s.ended
	s.ended <- err
	return err
}

// close ends everything and removes what it wrote.
func (s *demoStack) close() error {
	err := s.halt()
	if s.process != nil {
		err = errors.Join(err, s.process.close())
	}
	for i := len(s.cleanups) - 1; i >= 0; i-- {
		s.cleanups[i]()
	}
	return err
}
