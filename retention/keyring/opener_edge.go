package keyring

import "mayfly/retention/seal"

// maxEdgeReaders bounds what is kept of the wraps under one key, as whoever may
// write to the topic can make any number of them.
const maxEdgeReaders = 4096

// EdgeReader gives the reader of what was sealed at the edge, whose wrap came with
// it; seal.ErrOpen where key does not open that wrap.
func (o *Opener) EdgeReader(key *Key, wrap seal.Wrap) (*seal.Reader, error) {
	id := wrap.ID()
	key.mu.Lock()
	defer key.mu.Unlock()
	if r := key.edge[id]; r != nil {
		return r, nil
	}
	r, err := seal.NewReader(key.Epoch, key.ID, key.private, wrap)
	if err != nil {
		return nil, err
	}
	if key.edge == nil || len(key.edge) >= maxEdgeReaders {
		key.edge = map[seal.WrapID]*seal.Reader{}
	}
	key.edge[id] = r
	return r, nil
}
