// Package skew is the one gauge of how far other clocks are ahead of ours. Several
// parts of a process compare clocks, each with peers of its own; all show what they
// see here. Anybody may import it.
package skew

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Gauge gives mayfly_clock_skew_seconds, by peer, and registers it unless another
// part of the process has.
func Gauge(r prometheus.Registerer) (*prometheus.GaugeVec, error) {
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "mayfly_clock_skew_seconds", Help: "How far a peer's clock is ahead of ours.",
	}, []string{"peer"})
	if r == nil {
		return gauge, nil
	}
	err := r.Register(gauge)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if theirs, ok := already.ExistingCollector.(*prometheus.GaugeVec); ok {
			return theirs, nil
		}
	}
	return gauge, err
}
