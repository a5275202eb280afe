package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/abuse"
	"mayfly/abuse/lookup"
	"mayfly/pipeline"
	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/redisconn"
	"mayfly/retention/store"
	"mayfly/retention/warden"
)

// roles are what one process does.
type roles struct{ ingest, warden, desk bool }

// sections are the parts of the configuration that roles use.
func (r roles) sections() []string {
	sections := []string{"redis", "keyring", "policies", "log", "desk"}
	if r.ingest {
		sections = append(sections, "kafka", "fields", "ingest")
	}
	if r.warden {
		sections = append(sections, "warden")
	}
	return sections
}

// process is one running mayfly, wired together.
type process struct {
	config   Config
	log      *zap.Logger
	registry *prometheus.Registry
	redis    redis.UniversalClient
	nodes    []*redis.Client
	ring     *keyring.Keyring
	kek      keyring.KEK
	store    *store.Redis

	opener   *keyring.Opener // nil in a process that only ingests
	reader   *store.Reader
	ingest   *pipeline.Ingest
	consumer *kafkain.Consumer
	warden   *warden.Warden
	examiner *examiner
	guard    *warden.Guard // what the warden's guarantee rests on
	receipts *receipts.Log
	desk     *abuse.Desk
	listener net.Listener // where the desk serves, if it is open already
	observer *observer    // where there is no desk
}

// newProcess wires the roles up. It reads the files that the configuration
// names, and connects to nothing.
func newProcess(config Config, r roles, log *zap.Logger) (*process, error) {
	p := &process{config: config, log: log, registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []func() error{p.openStore, p.openKeyring}
	if r.desk || r.warden {
		steps = append(steps, p.openReader, func() error { return p.openReceipts(r) })
	}
	if r.ingest {
		steps = append(steps, p.newIngest)
	}
	if r.warden {
		steps = append(steps, p.newWarden, p.newGuard)
	}
	if r.desk {
		steps = append(steps, p.newDesk)
	} else {
		steps = append(steps, p.newObserver)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

func (p *process) openStore() (err error) {
	p.redis, err = redisconn.Open(p.config.Redis)
	if err == nil {
		p.store = store.NewRedis(p.redis)
	}
	return err
}

func (p *process) openKeyring() error {
	var nodes []keyring.Node
	for i, address := range p.config.Keyring.Nodes {
		client, err := redisconn.OpenNode(address)
		if err != nil {
			return err
		}
		p.nodes = append(p.nodes, client)
		nodes = append(nodes, keyring.NewRedisNode(nodeName(i, address), client))
	}
	if len(nodes) == 1 {
		p.log.Warn("the keyring has a single node: when it restarts, every living epoch is lost; keyring.nodes takes two or three")
	}
	var err error
	p.ring, err = keyring.New(nodes...)
	return err
}

// nodeName is a node's place and host, without the password its URL may hold.
func nodeName(i int, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Sprint(i)
	}
	return fmt.Sprintf("%d (%s)", i, u.Host)
}

func (p *process) openReader() error {
	kek, err := keyring.OpenKEK(p.config.Keyring.KEKFile, time.Now())
	if err != nil {
		return err
	}
	p.kek = kek
	p.opener = keyring.NewOpener(p.ring, kek, p.log)
	p.reader = store.NewReader(p.config.Policies, p.opener, p.store)
	return nil
}

func (p *process) newIngest() (err error) {
	p.ingest, err = pipeline.New(p.config.Ingest, pipeline.Dependencies{
		Policies: p.config.Policies, Fields: p.config.Fields,
		Writer: store.NewWriter(p.ring, p.store), Store: p.store,
		Log: p.log, Registerer: p.registry,
	})
	if err != nil {
		return err
	}
	p.consumer, err = kafkain.New(p.config.Kafka, kafkain.Dependencies{Log: p.log, Registerer: p.registry})
	return err
}

func (p *process) newWarden() error {
	facts, err := p.purgeFacts()
	if err != nil {
		return err
	}
	p.warden, err = warden.New(p.config.Warden, warden.Dependencies{
		Policies: p.config.Policies, Keyring: p.ring, KEK: p.kek, Store: p.store,
		Records:  p.reader.Records,
		Forget:   func(epoch retention.Epoch) { p.opener.Forget(epoch) },
		Receipts: p.receipts, Facts: facts,
		Log: p.log, Registerer: p.registry,
	})
	return err
}

func (p *process) newGuard() (err error) {
	if p.examiner, err = newExaminer(p.config); err != nil {
		return err
	}
	p.guard, err = warden.NewGuard(warden.GuardDependencies{Sources: p.examiner.sources(), Log: p.log, Registerer: p.registry})
	return err
}

func (p *process) newDesk() error {
	lookups, err := lookup.New(lookup.Config{Policies: p.config.Policies},
		lookup.Dependencies{Log: p.reader, Receipts: p.receipts})
	if err != nil {
		return err
	}
	p.desk, err = abuse.New(p.config.Desk, abuse.Dependencies{
		Lookups: lookups, Retention: p.retention(), Ready: p.ready, ReceiptLog: p.receipts.Handler(),
		Gatherer: p.registry, Registerer: p.registry, Log: p.log,
	})
	return err
}

func (p *process) newObserver() error {
	p.observer = &observer{listen: p.config.Desk.Listen, gatherer: p.registry, ready: p.ready, log: p.log}
	return nil
}

// retention is the source of the retention's state: this process's warden, or
// where it has none the keyring itself.
func (p *process) retention() abuse.RetentionSource {
	if p.warden != nil {
		return wardenState{p.config.Policies, p.ring.Nodes(), p.warden}
	}
	return &keyringState{policies: p.config.Policies, ring: p.ring}
}

// ready names the parts of this process and what is wrong with them.
func (p *process) ready() map[string]error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state := map[string]error{}
	if p.ingest != nil {
		state["ingest"] = p.ingest.Ready()
		state["kafka"] = p.consumer.Ready()
	}
	if p.warden != nil {
		state["warden"] = p.warden.Ready()
	}
	if p.receipts != nil {
		state["receipts"] = p.receipts.Ready()
	}
	if err := p.redis.Ping(ctx).Err(); err != nil {
		state["redis"] = err
	}
	return state
}

// run does the work of all roles until ctx ends or one of them fails.
func (p *process) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if p.opener != nil {
		g.Go(func() error { return p.opener.Run(ctx) })
	}
	if p.warden != nil {
		g.Go(func() error { return p.warden.Run(ctx) })
		g.Go(func() error { return p.guard.Run(ctx) })
	}
	if p.ingest != nil {
		g.Go(func() error { return p.ingest.Run(ctx, p.consumer) })
	}
	switch {
	case p.desk != nil && p.listener != nil:
		g.Go(func() error { return p.desk.Serve(ctx, p.listener) })
	case p.desk != nil:
		g.Go(func() error { return p.desk.Run(ctx) })
	}
	if p.observer != nil {
		g.Go(func() error { return p.observer.run(ctx) })
	}
	return g.Wait()
}

// close gives back what newProcess opened.
func (p *process) close() error {
	var errs []error
	if p.receipts != nil {
		errs = append(errs, p.receipts.Close())
	}
	if p.examiner != nil {
		p.examiner.close()
	}
	for _, node := range p.nodes {
		errs = append(errs, node.Close())
	}
	if p.redis != nil {
		errs = append(errs, p.redis.Close())
	}
	return errors.Join(errs...)
}

// runRoles is what the commands for roles do.
func runRoles(ctx context.Context, flags ConfigFlags, r roles) error {
	config, err := flags.Load(r.sections()...)
	if err != nil {
		return err
	}
	log, err := newLogger(config.Log, os.Stderr)
	if err != nil {
		return err
	}
	p, err := newProcess(config, r, log)
	if err != nil {
		return err
	}
	log.Info("mayfly starts", zap.Bool("ingest", r.ingest), zap.Bool("warden", r.warden), zap.Bool("desk", r.desk),
		zap.Int("policies", len(config.Policies)))
	err = errors.Join(p.run(ctx), p.close())
	log.Info("mayfly has stopped", zap.Error(err))
	return err
}
