package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/secret"
	"mayfly/retention/tally"
)

// ErrKeyLost says that the key under which an epoch was being written is gone
// from every keyring node though its epoch lives: what was written under it can't be
// read. The events of the last seconds should be read from Kafka again.
var ErrKeyLost = errors.New("an epoch key was lost before its deadline")

// Batch is records of one epoch. Among all batches of an epoch that are sealed
// together, records are in ascending order of offset for each partition.
type Batch struct {
	Epoch retention.Epoch
	// Deadline is the epoch's under the policy that chose it: once it has come the
	// batch is expired, whatever the keyring says.
	Deadline time.Time
	Records  []record.Record
	Rows     []*record.Rows // more of them, as ingest has them
	Edge     *EdgeBatch     // instead of both: what came from Kafka sealed already
	wiped    bool
}

// Wipe erases the records of a batch whose deadline has come, and reports
// whether it ever has: a clock set back brings none of them to life. Their
// number stays, as they are still to be counted.
func (b *Batch) Wipe(now time.Time) bool {
	if !now.Before(b.Deadline) {
		clear(b.Records)
		for _, rows := range b.Rows {
			rows.Wipe()
		}
		b.wiped = true
	}
	return b.wiped
}

// The most records, and mentions, in one frame: each about 100 kB.
const (
	frameRecords  = 4096
	frameMentions = 16384
)

// lingering is how long a writer may outlast its epoch's length, so that the
// last events of an epoch need no new one.
const lingering = 5 * time.Second

// Writer turns records into sealed frames. It can't read back: per epoch it
// holds a public key, and a frame key for as long as it writes. It is not for
// concurrent use.
type Writer struct {
	ring    *keyring.Keyring
	store   Store
	sealers map[retention.Epoch]*sealer
	edge    map[edgeKey]*edgeSealer
	pending bool // a sealed batch is not appended yet

	noted     time.Time // by the latest Note
	committed time.Time // by the latest Settle
	reading   *tally.Reading
	disowned  []withdrawal
	encoder   record.Encoder
	plan      plan
	payload   []byte
}

type sealer struct {
	*seal.Writer
	key     keyring.Public
	layout  layout
	records uint64
	made    time.Time
	claims  []claim // the latest last
}

// Sealed is what Seal made of some batches, ready to be appended, as often as it takes.
type Sealed struct {
	groups []sealedGroup
	// Stored is how many records are in it.
	Stored int
	// Expired is how many were left out because their epoch is past its deadline.
	Expired int
	// Purged is how many were left out because their epoch was purged already,
	// though its deadline has not come here: another warden's window is shorter.
	Purged int
	// Unreadable is how many were left out because nothing will ever open them: they
	// were sealed at the edge to a key that no keyring node has, or lie about its shards.
	Unreadable int
	// Waiting are the batches that were left out because their epoch has no key,
	// not yet or not any more, and Lacking says why; seal them again.
	Waiting []Batch
	Lacking error

	lost []lost
}

// lost are events that were left out for good.
type lost struct {
	epoch    retention.Epoch
	deadline time.Time
	counts   tally.Counts
}

type sealedGroup struct {
	sealer   *sealer
	deadline time.Time
	records  int
	frames   []seal.Frame
	manifest seal.Frame
}

// NewWriter makes a writer of the IP log.
func NewWriter(ring *keyring.Keyring, store Store) *Writer {
	return &Writer{
		ring: ring, store: store, sealers: map[retention.Epoch]*sealer{}, edge: map[edgeKey]*edgeSealer{}, reading: tally.NewReading(),
	}
}

// Begin says that partitions were assigned anew: what is read from now on others may
// have read before.
func (w *Writer) Begin() { w.reading = tally.NewReading() }

// Read says what was read since the last time. It comes before the Seal of what was in it.
func (w *Writer) Read(reads []tally.Read) { w.reading.Read(reads, time.Now()) }

// Seal makes frames of the batches' records; afterwards nothing here holds
// them. Batches of one epoch become the frames that one batch would have become.
// An epoch that can't be sealed holds up no other: see Sealed.
// ErrKeyLost: read the last seconds again. A sealed batch that was never appended is forgotten, with the writers that sealed it.
func (w *Writer) Seal(ctx context.Context, batches []Batch) (*Sealed, error) {
	if w.pending {
		clear(w.edge)
		clear(w.sealers) // their sequences have gaps now, which readers would take for a loss
		w.pending = false
	}
	now := time.Now()
	w.retire(now)
	sealed := &Sealed{}
	plain, edge := sealed.living(batches, now)
	epochs := groupByEpoch(plain)
	sealers := make([]*sealer, len(epochs))
	for i, e := range epochs {
		var err error
		switch sealers[i], err = w.sealer(ctx, e.epoch, now); {
		case errors.Is(err, keyring.ErrDestroyed):
			sealed.Purged += e.records
			sealed.lose(&e.batches[0], tally.Counts{Expired: int64(e.records)})
		case errors.Is(err, keyring.ErrNoKey):
			sealed.Waiting = append(sealed.Waiting, e.batches...)
			sealed.Lacking = fmt.Errorf("sealing for epoch %v: %w", e.epoch, err)
		case err != nil:
			return nil, fmt.Errorf("sealing for epoch %v: %w", e.epoch, err)
		}
	}
	groups, err := w.edgeGroups(ctx, sealed, edge, now)
	if err != nil {
		return nil, err
	}
	unsaid, err := w.unsaid(ctx, epochs, now)
	if err != nil {
		return nil, err
	}
	for i, e := range epochs {
		if s := sealers[i]; s != nil && e.records > 0 {
			sealed.groups = append(sealed.groups, w.seal(s, e))
			sealed.Stored += e.records
		}
	}
	for _, g := range groups {
		w.sealEdge(sealed, g)
	}
	for _, l := range sealed.lost {
		w.reading.Late(l.epoch, l.deadline, l.counts, now)
	}
	for _, s := range unsaid {
		sealed.groups = append(sealed.groups, sealedGroup{sealer: s, deadline: s.key.Deadline, manifest: w.manifest(s)})
	}
	w.pending = len(sealed.groups) > 0
	return sealed, nil
}

// epochBatches are the batches of one epoch.
type epochBatches struct {
	epoch   retention.Epoch
	batches []Batch
	records int
}

// groupByEpoch keeps the order of batches.
func groupByEpoch(batches []Batch) []*epochBatches {
	var groups []*epochBatches
	of := map[retention.Epoch]*epochBatches{}
	for _, b := range batches {
		g := of[b.Epoch]
		if g == nil {
			g = &epochBatches{epoch: b.Epoch}
			of[b.Epoch] = g
			groups = append(groups, g)
		}
		g.batches = append(g.batches, b)
		g.records += b.Events()
	}
	return groups
}

// Append stores what Seal made. On an error call it again with the same batch.
func (w *Writer) Append(ctx context.Context, sealed *Sealed) error {
	w.retire(time.Now()) // a store that stays away keeps no frame key alive
	for len(sealed.groups) > 0 {
		g := &sealed.groups[0]
		if time.Now().Before(g.deadline) {
			if err := w.store.Append(ctx, g.deadline, g.frames, g.manifest); err != nil {
				var partial *Partial
				if errors.As(err, &partial) {
					g.frames = partial.Rest
				}
				return err
			}
		} else {
			sealed.Stored -= g.records
			sealed.Expired += g.records
			w.reading.Late(g.sealer.key.Epoch, g.deadline, tally.Counts{Expired: int64(g.records)}, time.Now())
		}
		sealed.groups = sealed.groups[1:]
	}
	w.pending = false
	return nil
}

// sealer gives the writer of an epoch's newest key, making one where there is
// none, with its wrap in the keyring. ErrDestroyed: the epoch was purged, and can
// have no key again. ErrNoKey: it may have one later.
func (w *Writer) sealer(ctx context.Context, epoch retention.Epoch, now time.Time) (*sealer, error) {
	s, err := w.currentSealer(ctx, epoch, now)
	switch {
	case errors.Is(err, keyring.ErrNoKey), errors.Is(err, keyring.ErrDestroyed), errors.Is(err, ErrKeyLost):
		if w.ring.Purged(ctx, epoch) {
			delete(w.sealers, epoch)
			return nil, keyring.ErrDestroyed
		}
	}
	switch {
	case errors.Is(err, keyring.ErrDestroyed):
		// By the nodes' clocks alone, which may be wrong: what is dropped now would
		// be missed once they are right.
		return nil, fmt.Errorf("%w: the keyring's clocks are past its deadline, ours is not", keyring.ErrNoKey)
	case errors.Is(err, keyring.ErrNotBegun):
		return nil, fmt.Errorf("%w: by the keyring's clocks it has not begun", keyring.ErrNoKey)
	}
	return s, err
}

func (w *Writer) currentSealer(ctx context.Context, epoch retention.Epoch, now time.Time) (*sealer, error) {
	keys, err := w.ring.Public(ctx, epoch)
	s := w.sealers[epoch]
	lost := s != nil && !slices.ContainsFunc(keys, func(k keyring.Public) bool { return k.ID == s.key.ID })
	switch {
	case lost && (err == nil || errors.Is(err, keyring.ErrNoKey)):
		delete(w.sealers, epoch)
		return nil, ErrKeyLost
	case err != nil:
		return nil, err
	}
	if s == nil || s.key.ID != keys[0].ID {
		writer, err := seal.NewWriter(epoch, keys[0].ID, keys[0].Key)
		if err != nil {
			return nil, err
		}
		s = &sealer{Writer: writer, key: keys[0], layout: layoutOf(keys[0]), made: now}
	}
	s.key.Deadline = earlier(s.key.Deadline, keys[0].Deadline) // its window may have been shortened
	if err := w.ring.PublishWrap(ctx, s.key, s.Wrap()); err != nil {
		return nil, err
	}
	w.sealers[epoch] = s
	return s, nil
}

// retire drops the writers of due epochs, and every other one epoch length after
// it was made: no frame key lives longer, and a trickle of late events does not
// make a wrap for each.
func (w *Writer) retire(now time.Time) {
	for epoch, s := range w.sealers {
		if s.outlived(now) {
			delete(w.sealers, epoch)
			secret.Collect()
		}
	}
	for k, s := range w.edge {
		if s.outlived(now) {
			delete(w.edge, k)
			secret.Collect()
		}
	}
}

func (s *sealer) outlived(now time.Time) bool {
	length := time.Duration(s.key.Epoch.Length) * time.Millisecond
	return now.Sub(s.made) >= length+lingering || !now.Before(s.key.Deadline)
}

// Forget drops every frame key: whoever has nothing to write holds none. Batches
// that are sealed and not appended can still be.
func (w *Writer) Forget() {
	clear(w.sealers)
	clear(w.edge)
	secret.Collect()
}

func (w *Writer) seal(s *sealer, e *epochBatches) sealedGroup {
	g := sealedGroup{sealer: s, deadline: earlier(s.key.Deadline, e.batches[0].Deadline), records: e.records}
	w.plan.make(s.layout, e)
	for shard := range s.key.Shards {
		for places := range slices.Chunk(w.plan.rowsOf(shard), frameRecords) {
			w.payload = w.encoder.AppendRows(w.payload[:0], w.plan.rows, places)
			g.frames = append(g.frames, s.Seal(seal.ByAddress, shard, w.payload))
		}
	}
	for shard := range s.key.Shards {
		for mentions := range slices.Chunk(w.plan.mentionsOf(shard), frameMentions) {
			w.payload = w.encoder.AppendMentions(w.payload[:0], mentions)
			g.frames = append(g.frames, s.Seal(seal.ByAccount, shard, w.payload))
		}
	}
	for _, rows := range w.plan.rows {
		for i := range rows.All() {
			id := rows.ID(i)
			w.reading.Stored(e.epoch, g.deadline, tally.Source{Topic: id.Topic, Partition: id.Partition}, id.Offset, 1)
		}
	}
	w.plan.forget()
	s.records += uint64(e.records)
	g.manifest = w.manifest(s)
	clear(w.payload[:cap(w.payload)])
	return g
}

// manifest seals what s has written, and what this process has read for its epoch.
func (w *Writer) manifest(s *sealer) seal.Frame {
	w.payload = appendManifest(w.payload[:0], s.records, s.key.Shards, s.Written)
	w.payload = w.reading.Append(w.payload, s.key.Epoch)
	return s.Seal(seal.Manifest, 0, w.payload)
}

// unsaid gives writers of the epochs of which something was refused and nothing is
// going to be stored now. Those that have no key wait; refusals hold up nothing.
func (w *Writer) unsaid(ctx context.Context, stored []*epochBatches, now time.Time) ([]*sealer, error) {
	var sealers []*sealer
	for _, epoch := range w.reading.Unsaid() {
		if slices.ContainsFunc(stored, func(e *epochBatches) bool { return e.epoch == epoch && e.records > 0 }) {
			continue
		}
		s, err := w.sealer(ctx, epoch, now)
		switch {
		case errors.Is(err, ErrKeyLost):
			return nil, fmt.Errorf("sealing for epoch %v: %w", epoch, err)
		case errors.Is(err, keyring.ErrDestroyed):
			w.reading.Forget(epoch)
		case err == nil:
			sealers = append(sealers, s)
		}
	}
	return sealers, nil
}

// lose notes events of a batch's epoch that are left out for good.
func (s *Sealed) lose(b *Batch, counts tally.Counts) {
	s.lost = append(s.lost, lost{b.Epoch, b.Deadline, counts})
}

// Holding reports whether a frame key of the epoch is in memory.
func (w *Writer) Holding(epoch retention.Epoch) bool {
	for k := range w.edge {
		if k.epoch == epoch {
			return true
		}
	}
	return w.sealers[epoch] != nil
}
