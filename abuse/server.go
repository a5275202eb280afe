package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"

	"mayfly/retention/secret"
)

// Timeouts of the server. An answer may take as long as a batch. A read deadline
// covers the answer's time too: when it passes, net/http cancels the request.
const (
	headerTimeout   = 5 * time.Second
	bodyTimeout     = 15 * time.Second
	answerTimeout   = bodyTimeout + batchTimeout + 15*time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 10 * time.Second
)

// Run listens where the configuration says, and serves until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", d.config.Listen)
	if err != nil {
		return fmt.Errorf("desk.listen: %w", err)
	}
	return d.Serve(ctx, listener)
}

// Serve serves on a listener until ctx ends; then requests under way have ten
// seconds to finish. It closes the listener.
func (d *Desk) Serve(ctx context.Context, listener net.Listener) error {
	d.log.Info("desk listens", zap.Stringer("address", listener.Addr()))
	if host, _, err := net.SplitHostPort(listener.Addr().String()); err != nil || !isLoopback(host) {
		d.log.Warn("desk is reachable beyond this machine and asks nobody to sign in: put TLS and sign-in in front of it, or listen on loopback",
			zap.Stringer("address", listener.Addr()))
	}
	server := &http.Server{
		Handler:           d.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       answerTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		// What net/http prints has clients' addresses in it.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(drain)
	})
	err := server.Serve(secret.Listener{Listener: listener})
	if stop() { // ctx has not ended: the listener failed
		return fmt.Errorf("serving the desk: %w", errors.Join(err, server.Close()))
	}
	if err := <-stopped; err != nil {
		return fmt.Errorf("closing the desk: %w", errors.Join(err, server.Close()))
	}
	return nil
}
