package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/secret"
	"mayfly/retention/store"
)

// drainTime is how long Run goes on after its end to send what it has.
const drainTime = 15 * time.Second

// lingering is how long a frame key may outlast its epoch's length, so that the last
// events of an epoch need no new one.
const lingering = 5 * time.Second

// Run seals and sends until ctx ends, then what it still has. Its error says that
// events were given up.
func (s *Sealer) Run(ctx context.Context) error {
	secret.GrowStack()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx)) // what is under way is finished
	defer cancel()
	tick := time.NewTicker(max(s.config.Linger/4, time.Millisecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-s.wake:
		}
		s.flush(work, s.take(time.Now(), false))
	}
	time.AfterFunc(drainTime, cancel)
	s.flush(work, s.take(time.Now(), true))
	for len(s.pending) > 0 && work.Err() == nil {
		select {
		case <-work.Done():
		case <-tick.C:
		}
		s.flush(work, nil)
	}
	left := 0
	for _, b := range s.pending {
		left += len(b.records)
		s.settle(b, ErrStopped)
	}
	s.pending = nil
	s.sending.Wait()
	clear(s.edges)
	if left > 0 {
		return fmt.Errorf("relay: %d events had no key when it ended, and were given up", left)
	}
	return nil
}

// flush seals and sends the pending batches whose epoch has a key.
func (s *Sealer) flush(ctx context.Context, taken []*batch) {
	s.pending = append(s.pending, taken...)
	now := time.Now()
	s.retire(now)
	asked := map[retention.Epoch]error{}
	var wrong error
	s.pending = slices.DeleteFunc(s.pending, func(b *batch) bool {
		if !b.deadline.After(now) {
			s.settle(b, ErrExpired)
			return true
		}
		err, known := asked[b.epoch]
		if !known {
			err = s.prepare(ctx, b.epoch, now)
			asked[b.epoch] = err
		}
		switch {
		case err == nil:
			s.send(ctx, b, s.edges[b.epoch])
			return true
		case now.Sub(b.born) >= s.config.Linger+s.config.KeyWait:
			s.settle(b, ErrNoKey)
			wrong = fmt.Errorf("sealing: %w", err)
			return true
		}
		wrong = fmt.Errorf("sealing: %w", err)
		return false
	})
	if len(asked) > 0 {
		s.setTrouble(func(t *trouble) { t.keys = wrong })
	}
}

// prepare makes sure that the epoch has a sealer of its newest key.
func (s *Sealer) prepare(ctx context.Context, epoch retention.Epoch, now time.Time) error {
	present := s.edges[epoch]
	keys, err := s.deps.Keys.Public(ctx, epoch)
	switch {
	case errors.Is(err, keyring.ErrNoKey):
		delete(s.edges, epoch)
		return err
	case err != nil && present == nil:
		return err
	case err != nil:
		return nil // the keyring is away: that does not make the key a lost one
	case present != nil && present.Key().ID == keys[0].ID:
		return nil
	}
	made, err := store.NewEdge(keys[0])
	if err != nil {
		return err
	}
	s.edges[epoch] = &sealing{made, now}
	return nil
}

// retire drops the frame keys of due epochs, and every other one epoch length
// after it was made.
func (s *Sealer) retire(now time.Time) {
	for epoch, e := range s.edges {
		length := time.Duration(epoch.Length) * time.Millisecond
		if now.Sub(e.made) >= length+lingering || !now.Before(e.Key().Deadline) {
			delete(s.edges, epoch)
		}
	}
}

// send seals a batch, erases it, and hands over the message: one, or one per lane
// that the batch has events of.
func (s *Sealer) send(ctx context.Context, b *batch, with *sealing) {
	began := time.Now()
	type message struct{ key, value []byte }
	var messages []message
	if s.config.Lanes == 0 {
		messages = []message{{nil, with.Seal(nil, b.records)}}
	} else {
		lanes := map[uint32][]record.Record{}
		for _, r := range b.records {
			lane := with.Shard(r.Account) % uint32(s.config.Lanes) //nolint:gosec // bounded by Validate
			lanes[lane] = appendErasing(lanes[lane], r)
		}
		for lane, records := range lanes {
			messages = append(messages, message{laneKey(with.Key(), lane), with.Seal(nil, records)})
			clear(records)
		}
	}
	b.erase()
	secret.WipeStack()
	s.metrics.seal.Observe(time.Since(began).Seconds())
	b.unsent.Store(int32(len(messages))) //nolint:gosec // at most one per event
	for _, m := range messages {
		s.sending.Add(1)
		s.metrics.bytes.Add(float64(len(m.value)))
		s.deps.Producer.Produce(ctx, m.key, m.value, func(err error) {
			defer s.sending.Done()
			s.acknowledged(b, err)
		})
	}
}

// laneKey is the message key of a lane: of the epoch key and the lane's number, so
// that all edges agree on it without a secret of their own, and it links nothing
// across epochs.
func laneKey(key keyring.Public, lane uint32) []byte {
	return binary.BigEndian.AppendUint32(append([]byte(nil), key.ID[:]...), lane)
}

// acknowledged is called once per message; the batch is settled with the last one.
func (s *Sealer) acknowledged(b *batch, err error) {
	if err != nil {
		b.failed.Store(true)
		err = fmt.Errorf("sending: %w", err)
	}
	s.setTrouble(func(t *trouble) { t.kafka = err })
	if err != nil {
		if s.deps.Log != nil {
			s.deps.Log.Warn("kafka has not acknowledged a batch", zap.Int("events", b.events), zap.Error(err))
		}
	}
	if b.unsent.Add(-1) > 0 {
		return
	}
	if b.failed.Load() {
		s.settle(b, ErrKafka)
		return
	}
	s.settle(b, nil)
}

// settle tells the deliveries what became of their events, and gives the memory back.
func (s *Sealer) settle(b *batch, err error) {
	b.erase()
	result := resultOf(err)
	s.metrics.count(result, b.events)
	s.metrics.waiting.Sub(float64(b.weight))
	s.memory.Release(b.weight)
	for d, n := range b.deliveries {
		d.settle(n, err)
	}
}
