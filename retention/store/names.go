package store

import (
	"sync"

	"mayfly/retention/seal"
)

// chunkNames remembers the names of chunks: a writer uses each once a second, and
// making one takes six allocations.
type chunkNames struct {
	mu    sync.Mutex // guards known
	known map[seal.Place]*string
}

// mostNames bounds what is remembered to a few megabytes: the chunks of a handful of epochs.
const mostNames = 1 << 14

// of gives the name of a chunk, by a pointer as go-redis takes it without another allocation.
func (n *chunkNames) of(p seal.Place) *string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name := n.known[p]; name != nil {
		return name
	}
	if n.known == nil || len(n.known) >= mostNames {
		n.known = map[seal.Place]*string{} // those of epochs that are over go with the others
	}
	name := chunkKey(p)
	n.known[p] = &name
	return &name
}
