package process

import (
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
	"mayfly/retention/store"
)

func (p *Process) openStore() (err error) {
	p.redis, err = redisconn.Open(p.Config.Redis)
	if err == nil {
		p.store = store.NewRedis(p.redis)
	}
	return err
}

func (p *Process) openKeyring() (err error) {
	p.Keyring, p.nodes, err = openKeyring(p.Config.Keyring, p.node, p.log)
	return err
}

// openKeyring makes the client of a keyring, and returns those of its nodes too,
// which are to be closed, also after an error.
func openKeyring(c keyring.Config, wrap func(keyring.Node) keyring.Node, log *zap.Logger) (*keyring.Keyring, []*redis.Client, error) {
	var nodes []keyring.Node
	var clients []*redis.Client
	for i, address := range c.Nodes {
		client, err := redisconn.OpenNode(address)
		if err != nil {
			return nil, clients, err
		}
		clients = append(clients, client)
		nodes = append(nodes, wrap(keyring.NewRedisNode(nodeName(i, address), client)))
	}
	if len(nodes) == 1 {
		log.Warn("the keyring has a single node: when it restarts, every living epoch is lost; keyring.nodes takes two or three")
	}
	ring, err := keyring.New(nodes...)
	return ring, clients, err
}

// nodeName is a node's place and host, without the password its URL may hold.
func nodeName(i int, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Sprint(i)
	}
	return fmt.Sprintf("%d (%s)", i, u.Host)
}

func (p *Process) openReader() error {
	kek, err := p.Config.Keyring.OpenKEK(time.Now())
	if err != nil {
		return err
	}
	p.KEK = kek
	p.opener = keyring.NewOpener(p.Keyring, kek, p.log)
	p.reader = store.NewReader(p.Config.Policies, p.opener, p.store)
	refused := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "mayfly_lookup_refused_total",
		Help: "Segments sealed at the edge, and events in them, that look-ups left out: they don't open, or are none that ingest would take. The same again for each look-up.",
	}, func() float64 { return float64(p.reader.Refused()) })
	if err := p.Registry.Register(refused); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	return p.opener.Watch(p.Config.Ingest.Skew, p.Registry)
}
