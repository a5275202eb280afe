package edge

import (
	"context"
	"sync"
)

// Delivery follows the events that were added to it until Kafka has them.
type Delivery struct {
	mu      sync.Mutex // guards all below
	pending int
	err     error
	settled chan struct{} // closed when nothing is pending; nil: nobody waits
}

func (d *Delivery) add() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending++
}

func (d *Delivery) settle(n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending -= n
	if d.err == nil {
		d.err = err
	}
	if d.pending == 0 && d.settled != nil {
		close(d.settled)
		d.settled = nil
	}
}

// Wait returns when each event that was added is acknowledged or has failed: nil,
// or the first failure; and with ctx's error when that ends first. No event may be
// added meanwhile.
func (d *Delivery) Wait(ctx context.Context) error {
	d.mu.Lock()
	if d.pending == 0 {
		defer d.mu.Unlock()
		return d.err
	}
	settled := make(chan struct{})
	d.settled = settled
	d.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-settled:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}
