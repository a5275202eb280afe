package pipeline

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"mayfly/retention/store"
)

// held are events whose epoch has no key yet. They wait beside the lanes, so that
// they hold up no other epoch; nothing is committed past them.
type held struct {
	slab  *slab
	bytes int64 // of memory that they have
	why   error // nil: there are none
	tries backoff
}

// hold keeps what could not be sealed, in at most the memory that a flush had.
func (g *generation) hold(sealed *store.Sealed, most int64) {
	for i := range sealed.Waiting {
		g.held.slab.keep(&sealed.Waiting[i])
	}
	g.held.bytes = min(g.held.slab.bytes, most)
	tried := g.held.tries.attempts
	switch g.held.why = sealed.Lacking; {
	case g.held.why == nil:
		if tried > 1 {
			g.log.Info("recovered", zap.String("from", "sealing"), zap.Int("attempts", tried))
		}
		g.held.tries = backoff{}
	case g.held.tries.worthSaying(time.Now(), true): // a key that is on its way takes milliseconds
		g.log.Warn("ingest waits and tries again", zap.String("at", "sealing"), zap.Error(g.held.why))
	}
}

// retry fires when it is time to seal what is held again, if anything is.
func (h *held) retry() <-chan time.Time {
	if h.why == nil {
		return nil
	}
	return time.After(h.tries.next())
}

// trouble is what keeps ingest from being ready.
func (h *held) trouble() error {
	if h.why == nil {
		return nil
	}
	return fmt.Errorf("sealing: %w", h.why)
}
