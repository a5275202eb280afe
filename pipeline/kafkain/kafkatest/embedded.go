package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
)

// embedded is a broker in this process with its data in a folder, so that it
// survives a stop.
type embedded struct {
	folder string
	port   int

	mutex   sync.Mutex // guards cluster
	cluster *kfake.Cluster
}

func startEmbedded() (*embedded, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(ports[0])
	if err != nil {
		return nil, fmt.Errorf("reading a port: %w", err)
	}
	folder, err := os.MkdirTemp("", folderPrefix+strconv.Itoa(os.Getpid())+"-embedded-")
	if err != nil {
		return nil, fmt.Errorf("making the broker's folder: %w", err)
	}
	server := &embedded{folder: folder}
	if server.port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("reading a port: %w", err)
	}
	return server, server.start(context.Background())
}

func (s *embedded) data() string { return s.folder }

func (s *embedded) brokers() []string {
	return []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))}
}

func (s *embedded) start(ctx context.Context) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.cluster != nil {
		return errors.New("the broker runs already")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(s.port), kfake.DataDir(s.folder),
		kfake.GroupMinSessionTimeout(1e9))
	if err != nil {
		return fmt.Errorf("starting kfake: %w", err)
	}
	s.cluster = cluster
	return waitAnswering(ctx, s.brokers())
}

func (s *embedded) stop() error {
	s.kill()
	return nil
}

func (s *embedded) kill() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.cluster != nil {
		s.cluster.Close()
		s.cluster = nil
	}
}

func (s *embedded) remove() {
	s.kill()
	_ = os.RemoveAll(s.folder)
}
