package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"mayfly/retention/canary"
)

// observer serves health and metrics where there is no desk to do it.
type observer struct {
	listen   string
	gatherer prometheus.Gatherer
	ready    func() map[string]error
	probe    http.Handler // answers canaries' probers; nil: not served
	log      *zap.Logger
}

func (o *observer) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("desk.listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.gatherer, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("alive\n")) })
	mux.HandleFunc("GET /readyz", o.serveReady)
	if o.probe != nil {
		mux.Handle("POST "+canary.PeerPath, o.probe)
	}
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	o.log.Info("metrics and health listen", zap.Stringer("address", listener.Addr()))
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (o *observer) serveReady(w http.ResponseWriter, _ *http.Request) {
	wrong := map[string]string{}
	for part, err := range o.ready() {
		if err != nil {
			wrong[part] = err.Error()
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if len(wrong) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(wrong) == 0, "not_ready": wrong})
}
