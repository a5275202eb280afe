package warden

import (
	"errors"
	"sync"
	"time"
)

// beside is work on which purges must not wait for long: what it asks, an engine
// that has the key-encryption key or a keyring node, may hang.
type beside struct{ busy sync.Mutex } // held while the work is under way

var errUnderWay = errors.New("what was begun before is still under way")

// besideFor is how long a round waits for such work.
const besideFor = time.Second

// start begins work and gives what waits for its end, once or more often. Where
// earlier work is under way nothing is begun.
func (b *beside) start(work func() error) (ended func() error) {
	if !b.busy.TryLock() {
		return func() error { return errUnderWay }
	}
	done, late := make(chan struct{}), make(chan struct{})
	patience := time.AfterFunc(besideFor, func() { close(late) })
	var err error
	go func() {
		defer b.busy.Unlock()
		defer close(done)
		err = work()
		patience.Stop()
	}()
	return func() error {
		select {
		case <-done:
			return err
		case <-late:
			return errUnderWay
		}
	}
}

// end waits until nothing is under way.
func (b *beside) end() {
	b.busy.Lock()
	b.busy.Unlock() //nolint:staticcheck // it was held by the work
}
