package keyring

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/seal"
	"mayfly/retention/secret"
)

// Opener is a reader's hold on the keyring. It caches the keys of living
// epochs, so that a look-up over a day costs no round trip per epoch, and
// forgets each at its deadline by itself. How long a key lives is what the
// keyring's nodes say, counted by boot time, or the wall clock where that is
// sooner: neither a clock that is wrong or set back nor a suspended machine
// lengthens it. The nodes are asked again every few seconds, so that a deadline
// that was brought forward, and an early purge, reach the cache.
type Opener struct {
	ring    *Keyring
	kek     KEK
	log     *zap.Logger
	boot    func() time.Duration // CLOCK_BOOTTIME
	metrics *prometheus.GaugeVec // nil: nobody asked for it

	mu      sync.Mutex // guards what follows: a key leaves the cache no later than its deadline's next use or sweep
	cache   map[retention.Epoch]*opened
	dropped bool          // a key has left the cache, and its memory is not known to be erased
	skew    time.Duration // how far clocks may differ
	apart   bool          // ours differs by more from those of most nodes
}

type opened struct {
	keys     []*Key
	deadline time.Time
	life     *life
	asked    time.Duration // boot time of the nodes' latest answer
}

// life is when an epoch ends by boot time. It only comes nearer.
type life struct{ end atomic.Int64 }

func (l *life) shorten(end time.Duration) {
	for {
		before := l.end.Load()
		if int64(end) >= before || l.end.CompareAndSwap(before, int64(end)) {
			return
		}
	}
}

// Key opens the frames of one epoch key.
type Key struct {
	Public
	private seal.PrivateKey
	life    *life
	boot    func() time.Duration

	mu      sync.Mutex // guards what follows
	readers map[seal.WriterID]*seal.Reader
	edge    map[seal.WrapID]*seal.Reader // of what was sealed before Kafka
	cold    *seal.Cold                   // of what a compactor has made of it
}

// defaultSkew is how far clocks may differ where nobody says otherwise.
const defaultSkew = 5 * time.Second

// NewOpener makes a reader's hold on ring.
func NewOpener(ring *Keyring, kek KEK, log *zap.Logger) *Opener {
	return &Opener{ring: ring, kek: kek, log: log, boot: bootTime, skew: defaultSkew, cache: map[retention.Epoch]*opened{}}
}

// Alive is false once the epoch is over, by the nodes' clocks or ours: nothing
// that the key has opened may be given any more.
func (k *Key) Alive() bool {
	return k.life == nil || int64(k.boot()) < k.life.end.Load()
}

// Keys gives the keys of a living epoch that can be opened, among them those that
// needed names if they are anywhere. ErrNoKey: there is none, not minted yet or
// lost. ErrDestroyed: its deadline has passed.
func (o *Opener) Keys(ctx context.Context, epoch retention.Epoch, needed ...seal.KeyID) ([]*Key, error) {
	before, known := o.cached(ctx, epoch)
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
	asked := o.boot() // before they answer: what is counted from here ends no later
	lives, err := o.ring.Lives(ctx, epoch)
	if err != nil {
		return nil, err
	}
	o.compare(lives.Ahead)
	entry := &opened{deadline: publics[0].Deadline, keys: before, life: known, asked: asked}
	for _, public := range publics {
		if holdsAll(before, []seal.KeyID{public.ID}) {
			continue
		}
		private, err := o.unwrap(&public, wrapped[public.ID.String()])
		if err != nil {
			continue // a lost key; who finds frames under it says so
		}
		entry.keys = append(entry.keys, &Key{
			Public: public, private: private, life: entry.life, boot: o.boot, readers: map[seal.WriterID]*seal.Reader{},
		})
	}
	if len(entry.keys) == 0 {
		return nil, ErrNoKey
	}
	for _, key := range entry.keys {
		if key.Deadline.Before(entry.deadline) {
			entry.deadline = key.Deadline
		}
	}
	now, life := time.Now(), lives.Epochs[0]
	switch {
	case !now.Before(entry.deadline):
		return nil, ErrDestroyed
	case !life.Held && entry.deadline.Sub(now) < time.Second:
		return nil, ErrDestroyed // while it was being fetched
	case !life.Held:
		return nil, ErrNoKey // purged or lost since, or the nodes' clocks are past its deadline
	}
	entry.life.shorten(asked + min(life.Remaining, entry.deadline.Sub(now)))
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

// Absent lists those of epochs that have a key neither here nor on any node that answers,
// and whether each was purged. It asks once for all of them, where Keys and Purged
// ask twice for each: the first look-ups of a service go through a day of such epochs.
func (o *Opener) Absent(ctx context.Context, epochs []retention.Epoch) (purged map[retention.Epoch]bool) {
	epochs = slices.DeleteFunc(slices.Clone(epochs), o.Holds)
	if len(epochs) == 0 {
		return nil
	}
	lives, err := o.ring.Lives(ctx, epochs...)
	if err != nil {
		return nil // who asks for each of them is told why
	}
	purged = map[retention.Epoch]bool{}
	for i, life := range lives.Epochs {
		if !life.Held {
			purged[epochs[i]] = life.Purged
		}
	}
	return purged
}

// Purged reports whether an epoch was purged, so that it can have no key: by a
// shorter window, which has been lengthened since.
func (o *Opener) Purged(ctx context.Context, epoch retention.Epoch) bool {
	return o.ring.Purged(ctx, epoch)
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

// drop drops an epoch, also from under look-ups that are under way; mu is held.
func (o *Opener) drop(epoch retention.Epoch) {
	if entry := o.cache[epoch]; entry != nil {
		entry.life.shorten(0)
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

// Run drops due keys within a second of their deadline, advances the
// key-encryption key, and asks the nodes what still lives, until ctx ends. Every
// process that opens frames runs it.
func (o *Opener) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	asking.Go(func() { o.watch(ctx) }) // a node that hangs holds up no key's end
	defer asking.Wait()
	advanced, advancing := make(chan error, 1), false // nor does an engine that has the key-encryption key
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
			if advancing {
				o.erase()
				continue
			}
			advancing = true
			asking.Go(func() { advanced <- o.kek.Advance(now) })
		case err := <-advanced:
			if advancing = false; err != nil {
				o.log.Error("key-encryption key not advanced: due epochs could still be unwrapped", zap.Error(err))
			}
			o.erase()
		}
	}
}

// cached gives the keys in the cache, and with or without them the life of the
// epoch. Where nobody has asked the nodes for long, it asks first.
func (o *Opener) cached(ctx context.Context, epoch retention.Epoch) ([]*Key, *life) {
	o.mu.Lock()
	entry := o.cache[epoch]
	stale := entry != nil && o.boot()-entry.asked > 3*askEvery
	o.mu.Unlock()
	if stale {
		o.ask(ctx, epoch)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if entry = o.cache[epoch]; entry != nil && entry.due(time.Now(), o.boot()) {
		o.drop(epoch)
		entry = nil
	}
	if entry == nil {
		fresh := &life{}
		fresh.end.Store(1<<63 - 1)
		return nil, fresh
	}
	return slices.Clone(entry.keys), entry.life
}

func (o *Opener) sweep(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for epoch, entry := range o.cache {
		if entry.due(now, o.boot()) {
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

func (e *opened) due(now time.Time, boot time.Duration) bool {
	return !now.Before(e.deadline) || int64(boot) >= e.life.end.Load()
}
