// Package relay takes connection events over HTTP, and lines of a log from a
// socket, and hands them to an edge sealer: mayfly relay, for services that can't
// seal by themselves. It runs beside them, so that an address crosses no network
// in the clear.
//
// Only the commands import it. Its invariants: a request is answered with 202 only
// when Kafka has acknowledged all of its events, unless configured otherwise; what
// it takes is bounded before it is read, each request and all of them; nothing of an event is ever
// written to a disk, a log or an answer; and where events can't be sealed it refuses them.
package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/pipeline/edge"
	"mayfly/pipeline/event"
	"mayfly/retention/secret"
)

// Dependencies are what a Relay is given.
type Dependencies struct {
	Fields   event.FieldMap // of JSON
	Sealer   *edge.Sealer
	Gatherer prometheus.Gatherer
	Log      *zap.Logger
}

// Relay serves both ways in.
type Relay struct {
	config  Config
	deps    Dependencies
	decoder *event.Decoder
	bodies  chan struct{} // holds one for each body in memory
	lines   *lines
}

// New checks the configuration and opens nothing.
func New(config Config, deps Dependencies) (*Relay, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	decoder, err := event.NewDecoder(deps.Fields)
	if err != nil {
		return nil, err
	}
	r := &Relay{config: config, deps: deps, decoder: decoder, bodies: make(chan struct{}, config.MaxRequests)}
	if config.Socket.Listen != "" {
		if r.lines, err = newLines(config.Socket, deps); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Run serves until ctx ends, then answers what is under way and has the sealer
// send what it still has.
func (r *Relay) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", r.config.Listen)
	if err != nil {
		return fmt.Errorf("relay.listen: %w", err)
	}
	var socket net.Listener
	if r.lines != nil {
		if socket, err = r.config.Socket.listen(ctx); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	// The sealer outlives the ways in: what they have taken is still to be sealed.
	sealing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	sealed := make(chan error, 1)
	go func() { sealed <- r.deps.Sealer.Run(sealing) }()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.serve(ctx, listener) })
	if socket != nil {
		g.Go(func() error { return r.lines.serve(ctx, socket) })
	}
	err = g.Wait()
	stop()
	return errors.Join(err, <-sealed)
}

func (r *Relay) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: r.handler(), ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout: time.Minute, WriteTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
		ErrorLog:       zap.NewStdLog(zap.NewNop()), // its lines could quote a request
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.config.Timeout+time.Second)
		defer cancel()
		stopped <- server.Shutdown(end)
	})
	defer stop()
	r.deps.Log.Info("relay listens", zap.Stringer("address", listener.Addr()))
	if err := server.Serve(secret.Listener{Listener: listener}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving events: %w", err)
	}
	return <-stopped
}

func (r *Relay) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/events", func(w http.ResponseWriter, request *http.Request) {
		secret.GrowStack()
		r.serveEvents(w, request)
		secret.WipeStack()
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.deps.Gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "application/json", map[string]bool{"alive": true})
	})
	mux.HandleFunc("GET /readyz", r.serveReady)
	return mux
}

// readiness is the body of /readyz.
type readiness struct {
	Ready    bool              `json:"ready"`
	NotReady map[string]string `json:"not_ready,omitempty"`
}

func (r *Relay) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := r.deps.Sealer.Ready(); err != nil {
		answer(w, http.StatusServiceUnavailable, "application/json",
			readiness{NotReady: map[string]string{"relay": err.Error()}})
		return
	}
	answer(w, http.StatusOK, "application/json", readiness{Ready: true})
}
