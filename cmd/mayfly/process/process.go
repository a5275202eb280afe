// Package process wires one running Mayfly together: it is the only place that
// chooses implementations. Each role takes what it needs and no more: an ingest
// process never holds a private key.
package process

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/abuse"
	"mayfly/cmd/mayfly/config"
	"mayfly/pipeline"
	"mayfly/pipeline/kafkain"
	"mayfly/retention/canary"
	"mayfly/retention/compactor"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/receipts/witness"
	"mayfly/retention/secret"
	"mayfly/retention/store"
	"mayfly/retention/warden"
)

// Process is one running mayfly, wired together.
type Process struct {
	Config   config.Config
	log      *zap.Logger
	Registry *prometheus.Registry
	redis    redis.UniversalClient
	nodes    []*redis.Client
	Keyring  *keyring.Keyring
	KEK      keyring.KEK
	store    *store.Redis

	opener   *keyring.Opener // nil in a process that only ingests
	reader   *store.Reader
	ingest   *pipeline.Ingest
	consumer *kafkain.Consumer
	compact  *compactor.Compactor
	Warden   *warden.Warden
	examiner *Examiner
	sweeper  *warden.Sweeper
	Guard    *warden.Guard // what the warden's guarantee rests on
	receipts *receipts.Log
	desk     *abuse.Desk
	listener net.Listener // where the desk serves, if it is open already
	node     func(keyring.Node) keyring.Node
	observer *observer // where there is no desk

	canaryKey    *canary.Key // nil where there are no canaries
	canarySender canarySender
	canaries     *canary.Canaries

	witnesses *witness.Witnesses // of the receipts
	mirror    *receipts.Mirror   // nil where there is none
}

// An Option changes how a process is wired.
type Option func(*Process)

// OnListener lets the desk serve where somebody listens already.
func OnListener(l net.Listener) Option { return func(p *Process) { p.listener = l } }

// WithNodes puts something before each of the keyring's nodes, so that failures
// and sabotage can be tried out.
func WithNodes(wrap func(keyring.Node) keyring.Node) Option {
	return func(p *Process) { p.node = wrap }
}

func plainNode(n keyring.Node) keyring.Node { return n }

// New wires the roles up. It reads the files that the configuration
// names, and connects to nothing.
func New(c config.Config, r Roles, log *zap.Logger, options ...Option) (*Process, error) {
	p := &Process{Config: c, log: log, Registry: prometheus.NewRegistry(), node: plainNode}
	for _, option := range options {
		option(p)
	}
	p.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []func() error{p.openStore, p.openKeyring}
	if r.Desk || r.Warden || r.Compact {
		steps = append(steps, p.openReader)
	}
	if r.Desk || r.Warden {
		steps = append(steps, p.openCanaryKey, func() error { return p.openReceipts(r) }, p.newWitnesses,
			func() error { return p.newMirror(r) })
	}
	if r.Ingest {
		steps = append(steps, p.newIngest)
	}
	if r.Compact {
		steps = append(steps, func() error { return p.newCompactor(r) })
	}
	if r.Warden {
		steps = append(steps, p.newWarden, p.newCanaries, p.newGuard)
	}
	if r.Desk {
		steps = append(steps, func() error { return p.newDesk(r) })
	} else {
		steps = append(steps, p.newObserver)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, p.Close())
		}
	}
	return p, nil
}

// retention is the source of the retention's state: this process's warden, or
// where it has none the keyring itself.
func (p *Process) retention() abuse.RetentionSource {
	if p.Warden != nil {
		return wardenState{p.Config.Policies, p.Keyring.Nodes(), p.Warden}
	}
	return &keyringState{policies: p.Config.Policies, ring: p.Keyring}
}

// Ready names the parts of this process and what is wrong with them.
func (p *Process) Ready() map[string]error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state := map[string]error{}
	if p.ingest != nil {
		state["ingest"] = p.ingest.Ready()
		state["kafka"] = p.consumer.Ready()
	}
	if p.compact != nil && p.desk == nil {
		state["compact"] = p.compact.Ready() // no reason to send people to another desk
	}
	if p.Warden != nil {
		state["warden"] = p.Warden.Ready()
	}
	if p.receipts != nil {
		state["receipts"] = p.receipts.Ready()
	}
	if err := p.redis.Ping(ctx).Err(); err != nil {
		state["redis"] = err
	}
	return state
}

// Run does the work of all roles until ctx ends or one of them fails.
func (p *Process) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return atDeadlines(ctx, p.Config.Policies, secret.Scrub) })
	if p.opener != nil {
		g.Go(func() error { return p.opener.Run(ctx) })
	}
	if p.compact != nil {
		g.Go(func() error { return p.compact.Run(ctx) })
	}
	if p.Warden != nil {
		g.Go(func() error { return p.Warden.Run(ctx) })
		g.Go(func() error { return p.Guard.Run(ctx) })
		g.Go(func() error { return p.sweeper.Run(ctx) })
	}
	if p.canaries != nil {
		g.Go(func() error { return p.canaries.Run(ctx) })
		g.Go(func() error { return p.canarySender.run(ctx) })
	}
	if p.mirror != nil {
		g.Go(func() error { return p.mirror.Run(ctx) })
	}
	if p.witnesses != nil {
		g.Go(func() error { return p.witnesses.Run(ctx) })
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
		g.Go(func() error { return p.observer.Run(ctx) })
	}
	return g.Wait()
}

// Close gives back what New opened.
func (p *Process) Close() error {
	var errs []error
	if p.receipts != nil {
		errs = append(errs, p.receipts.Close())
	}
	if p.examiner != nil {
		p.examiner.Close()
	}
	if p.canarySender != nil {
		p.canarySender.close()
	}
	for _, node := range p.nodes {
		errs = append(errs, node.Close())
	}
	if p.redis != nil {
		errs = append(errs, p.redis.Close())
	}
	return errors.Join(errs...)
}
