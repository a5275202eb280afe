package keyring

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/seal"
	"mayfly/retention/secret"
)

// Opener is a reader's hold on the keyring. It caches the keys of living
// epochs, so that a look-up over a day costs no round trip per epoch, and
// forgets each at its deadline by itself: by wall clock or by boot time,
// whichever comes first, so that neither a clock set back nor a suspended
// machine lengthens a key's life.
type Opener struct {
	ring *Keyring
	kek  KEK
	log  *zap.Logger

	mu      sync.Mutex // guards what follows: a key leaves the cache no later than its deadline's next use or sweep
	cache   map[retention.Epoch]*opened
	dropped bool // a key has left the cache, and its memory is not known to be erased
}

type opened struct {
	keys     []*Key
	deadline time.Time
	boot     time.Duration // of CLOCK_BOOTTIME
}

// Key opens the frames of one epoch key.
type Key struct {
	Public
	private seal.PrivateKey

	mu      sync.Mutex // guards both
	readers map[seal.WriterID]*seal.Reader
	edge    map[seal.WrapID]*seal.Reader // of what was sealed before Kafka
}

// NewOpener makes a reader's hold on ring.
func NewOpener(ring *Keyring, kek KEK, log *zap.Logger) *Opener {
	return &Opener{ring: ring, kek: kek, log: log, cache: map[retention.Epoch]*opened{}}
}

// Keys gives the keys of a living epoch that can be opened, among them those that
// needed names if they are anywhere. ErrNoKey: there is none, not minted yet or
// lost. ErrDestroyed: its deadline has passed.
func (o *Opener) Keys(ctx context.Context, epoch retention.Epoch, needed ...seal.KeyID) ([]*Key, error) {
	before := o.cached(epoch)
	if before != nil && holdsAll(before, needed) {
		return before, nil
	}
	publics, err := o.ring.Public(ctx, epoch)
	if err != nil {
		if before != nil {
			return before, nil // what is open stays open, whatever the keyring has lost
		}
		return nil, err
	}
	wrapped, err := o.ring.fetch(ctx, epoch, partPrivate)
	if err != nil {
		return nil, err
	}
	entry := &opened{deadline: publics[0].Deadline, keys: before}
	for _, public := range publics {
		if holdsAll(before, []seal.KeyID{public.ID}) {
			continue
		}
		private, err := o.unwrap(&public, wrapped[public.ID.String()])
		if err != nil {
			continue // a lost key; who finds frames under it says so
		}
		entry.keys = append(entry.keys, &Key{Public: public, private: private, readers: map[seal.WriterID]*seal.Reader{}})
	}
	if len(entry.keys) == 0 {
		return nil, ErrNoKey
	}
	for _, key := range entry.keys {
		if key.Deadline.Before(entry.deadline) {
			entry.deadline = key.Deadline
		}
	}
	remaining := time.Until(entry.deadline)
	if remaining <= 0 {
		return nil, ErrDestroyed
	}
	entry.boot = bootTime() + remaining
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cache[epoch] = entry
	return slices.Clone(entry.keys), nil
}

func (o *Opener) unwrap(public *Public, part []byte) (seal.PrivateKey, error) {
	unwrapped, err := public.unwrap(o.kek, part)
	if err != nil {
		return seal.PrivateKey{}, err
	}
	defer clear(unwrapped)
	return seal.ParsePrivateKey(unwrapped)
}

func holdsAll(keys []*Key, ids []seal.KeyID) bool {
	for _, id := range ids {
		if !slices.ContainsFunc(keys, func(k *Key) bool { return k.ID == id }) {
			return false
		}
	}
	return true
}

// Epochs lists the epochs that have a key.
func (o *Opener) Epochs(ctx context.Context) ([]retention.Epoch, error) { return o.ring.Epochs(ctx) }

// Reader gives the reader of a writer's frames; seal.ErrOpen where that writer's
// wrap is not in the keyring.
func (o *Opener) Reader(ctx context.Context, key *Key, writer seal.WriterID) (*seal.Reader, error) {
	key.mu.Lock()
	defer key.mu.Unlock()
	if r := key.readers[writer]; r != nil {
		return r, nil
	}
	wraps, err := o.ring.fetch(ctx, key.Epoch, partWraps)
	if err != nil {
		return nil, err
	}
	encapsulated := wraps[wrapField(key.ID, writer)]
	if encapsulated == nil {
		return nil, seal.ErrOpen
	}
	r, err := seal.NewReader(key.Epoch, key.ID, key.private, seal.Wrap{Writer: writer, Encapsulated: encapsulated})
	if err != nil {
		return nil, err
	}
	key.readers[writer] = r
	return r, nil
}

// Forget drops the keys of an epoch from the cache.
func (o *Opener) Forget(epoch retention.Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.drop(epoch)
}

// drop runs with mu held.
func (o *Opener) drop(epoch retention.Epoch) {
	if o.cache[epoch] != nil {
		delete(o.cache, epoch)
		o.dropped = true
	}
}

// Holds reports whether a key of the epoch is in the cache, due or not.
func (o *Opener) Holds(epoch retention.Epoch) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.cache[epoch] != nil
}

// Run drops due keys within a second of their deadline and advances the
// key-encryption key, until ctx ends. Every process that opens frames runs it.
func (o *Opener) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			o.mu.Lock()
			clear(o.cache)
			o.mu.Unlock()
			secret.Collect()
			return nil
		case now := <-tick.C:
			o.sweep(now)
			if err := o.kek.Advance(now); err != nil {
				o.log.Error("key-encryption key not advanced: due epochs could still be unwrapped", zap.Error(err))
			}
			o.erase()
		}
	}
}

func (o *Opener) cached(epoch retention.Epoch) []*Key {
	o.mu.Lock()
	defer o.mu.Unlock()
	entry := o.cache[epoch]
	if entry == nil {
		return nil
	}
	if entry.due(time.Now()) {
		o.drop(epoch)
		return nil
	}
	return slices.Clone(entry.keys)
}

func (o *Opener) sweep(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for epoch, entry := range o.cache {
		if entry.due(now) {
			o.drop(epoch)
		}
	}
}

// erase has the memory of dropped keys erased: after the key-encryption key's
// advance, as that drops some, too. A look-up that is still using one when it
// comes due ends within its request.
func (o *Opener) erase() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dropped {
		o.dropped = false
		secret.Collect()
	}
}

func (e *opened) due(now time.Time) bool { return !now.Before(e.deadline) || bootTime() >= e.boot }
