// Package abuse is the desk: the HTTP API and the page with which abuse handlers
// look up recent connections. Package cmd imports it; the look-ups themselves
// are in lookup, the page is in pages.
//
// Invariants: an address travels in a request's body and an answer's body, never
// in a URL, a log line or an error; and no answer may be kept by a cache.
package abuse

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mayfly/abuse/lookup"
)

// Dependencies are what a desk works with.
type Dependencies struct {
	Lookups   *lookup.Lookups
	Retention RetentionSource
	// Ready names what is not ready, and why; nil: always ready.
	Ready      func() map[string]error
	Gatherer   prometheus.Gatherer   // for /metrics
	Registerer prometheus.Registerer // nil: the desk's own metrics are not kept
	ReceiptLog http.Handler          // of /v1/log/, with that cut off; nil: not served
	// Commitments is where auditors' commitments are written down; nil: not served.
	Commitments Commitments
	Probe       http.Handler // of ProbePath, for the canaries' probers; nil: not served
	Log         *zap.Logger  // nil: no log
}

// Desk serves the API.
type Desk struct {
	config      Config
	d           Dependencies
	log         *zap.Logger
	metrics     *metrics
	commitments *rate.Limiter
	handler     http.Handler
}

// New validates and opens nothing.
func New(c Config, d Dependencies) (*Desk, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if d.Lookups == nil || d.Retention == nil || d.Gatherer == nil {
		return nil, errors.New("the desk needs look-ups, a source of the retention's state and a gatherer of metrics")
	}
	desk := &Desk{config: c, d: d, log: d.Log, commitments: newCommitmentLimit()}
	if desk.log == nil {
		desk.log = zap.NewNop()
	}
	var err error
	if desk.metrics, err = newMetrics(d.Registerer); err != nil {
		return nil, err
	}
	desk.handler = desk.guard(desk.routes())
	return desk, nil
}

// Handler is the whole desk, for a server of the caller's own.
func (d *Desk) Handler() http.Handler { return d.handler }
