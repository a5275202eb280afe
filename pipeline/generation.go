package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"mayfly/pipeline/kafkain"
	"mayfly/retention/secret"
	"mayfly/retention/store"
	"mayfly/retention/tally"
)

// generation stores and commits what the lanes of one assignment take, until the
// assignment ends. All storing happens in run's goroutine.
type generation struct {
	*Ingest
	kafka     kafkain.Generation
	lanes     map[kafkain.Partition]*lane
	wake      chan struct{} // a lane waits for memory
	stop      chan struct{} // closed by finish: store what is there and end
	done      chan struct{} // closed by run when it has ended
	ctx       context.Context
	abort     context.CancelFunc
	gathered  []store.Batch // of all lanes; flush uses it alone
	held      held
	positions positions
	identity  string // of the Redis servers that stored it all
	skewed    bool   // their clocks have differed too much since
	refused   backoff
}

// positions remembers what was stored when, so that commits can follow later.
type positions struct {
	committed map[kafkain.Partition]int64
	history   []storedAt
}

type storedAt struct {
	when    time.Time
	offsets map[kafkain.Partition]int64
}

// errReplaced: the servers may not have the last events any more.
var errReplaced = errors.New("redis was replaced, or has deleted too early")

// historyStep keeps the history short: commits are no finer than this.
const historyStep = 500 * time.Millisecond

func newGeneration(i *Ingest, k kafkain.Generation) *generation {
	g := &generation{
		Ingest: i, kafka: k, lanes: map[kafkain.Partition]*lane{},
		held: held{slab: &slab{}}, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
		positions: positions{committed: k.Partitions()},
	}
	g.ctx, g.abort = context.WithCancel(context.Background())
	for partition, start := range k.Partitions() {
		g.lanes[partition] = newLane(i, partition, start, g.wake)
	}
	return g
}

// run stores what the lanes have gathered once per linger, or sooner when they
// wait for memory, and commits what has been stored for long enough.
func (g *generation) run() {
	defer close(g.done)
	g.writer.Begin()
	if g.verify() != nil {
		return
	}
	tick := time.NewTicker(g.config.Linger)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-g.stop:
			last = true
		case <-tick.C:
		case <-g.wake:
		case <-g.held.retry():
		}
		if g.flush() != nil {
			return // aborted, or rewinding: nothing more is stored or committed
		}
		// Reckoned before verifying, as this process may be suspended in between. At
		// the end, too: who reads on would not know of a failover just after it.
		until := time.Now().Add(-g.config.CommitDelay)
		if g.verify() != nil {
			return
		}
		g.commit(until)
		if last {
			return
		}
	}
}

// finish ends the generation: it stores what the lanes have, for as long as ctx
// lasts, and commits what has been stored for long enough; the rest is read again.
// No lane may be handling a batch any more.
func (g *generation) finish(ctx context.Context) error {
	defer g.release()
	defer g.abort()
	close(g.stop)
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
	}
	g.abort()
	<-g.done
	return fmt.Errorf("draining: %w: what was not stored will be read again", ctx.Err())
}

// release gives back the memory of what was dropped: by run where it ended
// early, and of what the lanes took after that; and the frame keys, as nobody
// knows when the next generation begins.
func (g *generation) release() {
	g.writer.Forget()
	g.give(g.held.bytes)
	g.held.slab.erase()
	for _, l := range g.lanes {
		s, _, _, bytes := l.harvest()
		g.give(bytes)
		s.erase()
	}
}

// give gives memory back.
func (g *generation) give(bytes int64) {
	g.metrics.waiting.Sub(float64(bytes))
	g.memory.Release(bytes)
}

// flush takes what was held and what the lanes have, seals it and stores it,
// however long the keyring or the store are away. What has no key is held again.
func (g *generation) flush() error {
	began := time.Now()
	secret.GrowStack()
	reached := make(map[kafkain.Partition]int64, len(g.lanes))
	reads := make([]tally.Read, 0, len(g.lanes))
	taken, bytes := []*slab{g.held.slab}, g.held.bytes
	g.gathered = append(g.gathered, g.held.slab.batches...)
	for partition, l := range g.lanes {
		s, next, read, held := l.harvest()
		g.gathered = append(g.gathered, s.batches...)
		reached[partition] = next
		reads = append(reads, read)
		bytes += held
		taken = append(taken, s)
	}
	g.held.slab, g.held.bytes = &slab{}, 0
	defer func() { g.give(bytes - g.held.bytes) }()
	g.writer.Read(reads)
	var sealed *store.Sealed
	err := g.insist("sealing", func() (err error) {
		sealed, err = g.writer.Seal(g.ctx, g.gathered)
		return err
	})
	if err == nil {
		g.hold(sealed, bytes)
	}
	g.gathered = slices.Delete(g.gathered, 0, len(g.gathered))
	for _, s := range taken {
		s.erase()
	}
	secret.WipeStack()
	if errors.Is(err, store.ErrKeyLost) {
		g.rewind("an epoch key was lost before its deadline: reading the last events again", err)
	}
	if err != nil {
		return err
	}
	if err := g.insist("storing", func() error { return g.writer.Append(g.ctx, sealed) }); err != nil {
		return err
	}
	g.metrics.add(counts{
		resultStored: sealed.Stored, resultExpired: sealed.Expired, resultPurged: sealed.Purged, resultUnreadable: sealed.Unreadable,
	})
	if sealed.Stored > 0 {
		g.metrics.flush.Observe(time.Since(began).Seconds())
	}
	if g.held.why == nil {
		now := time.Now()
		g.writer.Note(now, g.positions.reach(reached, now))
	}
	return nil
}

// wipe erases what has come due while it waits to be sealed.
func (g *generation) wipe(now time.Time) {
	for i := range g.gathered {
		g.gathered[i].Wipe(now)
	}
	for _, l := range g.lanes {
		l.wipe(now)
	}
}

// verify makes sure that what was stored can be relied on: the servers are those
// that stored it, and their clocks do not delete it early.
func (g *generation) verify() error {
	return g.insist("checking redis", func() error {
		health, err := g.store.Check(g.ctx)
		if err != nil {
			return err
		}
		g.metrics.redisAhead.Set(health.Ahead.Seconds())
		switch {
		case health.Ahead > g.config.Skew:
			g.skewed = g.identity != ""
			return fmt.Errorf("redis is %v ahead of this machine and would delete too early: set both clocks (ingest.skew is %v)",
				health.Ahead.Round(time.Millisecond), g.config.Skew)
		case health.Behind > g.config.Skew:
			g.skewed = g.identity != ""
			return fmt.Errorf("this machine is %v ahead of redis and would take living events for expired: set both clocks (ingest.skew is %v)",
				health.Behind.Round(time.Millisecond), g.config.Skew)
		case g.identity == "":
			g.identity = health.Identity
		case g.identity != health.Identity:
			g.replaced("redis was restarted or has failed over: reading the last events again")
			return errReplaced
		case g.skewed:
			g.replaced("clocks differed, so events may have expired too early: reading the last ones again")
			return errReplaced
		}
		return nil
	})
}

// commit commits what was stored at or before until. A commit that fails is
// made up for by the next.
func (g *generation) commit(until time.Time) {
	offsets, through := g.positions.due(until)
	if through > 0 { // before Kafka is told: a commit whose answer is lost may be one
		g.writer.Settle(g.positions.history[through-1].when)
	}
	if len(offsets) > 0 {
		if err := g.kafka.Commit(offsets); err != nil {
			if g.refused.worthSaying(time.Now(), false) {
				g.log.Warn("offsets not committed: trying again", zap.Error(err))
			}
			return
		}
		g.refused = backoff{}
	}
	if through > 0 {
		g.writer.Committed(g.positions.history[through-1].when)
	}
	g.positions.commit(offsets, through)
	g.makeGood()
}

// replaced rewinds because the servers may have lost what was not committed.
func (g *generation) replaced(why string) {
	g.writer.Disown()
	if g.lost == nil {
		g.lost = map[kafkain.Partition]int64{}
	}
	for partition, offset := range g.positions.reached() { // what an earlier one has lost may not be stored again yet
		g.lost[partition] = max(g.lost[partition], offset)
	}
	g.rewind(why, nil)
}

// makeGood lets look-ups be complete again once all that may have been lost is
// stored and committed anew. Partitions that went to another process are its affair.
func (g *generation) makeGood() {
	if !g.writer.Disowned() {
		return
	}
	for partition, offset := range g.lost {
		if committed, mine := g.positions.committed[partition]; mine && committed < offset {
			return
		}
	}
	if err := g.writer.Withdraw(g.ctx); err != nil {
		return // the next commit tries again
	}
	g.lost = nil
	g.log.Info("what the replaced redis may have lost is stored again")
}

func (g *generation) rewind(why string, err error) {
	g.log.Warn(why, zap.Error(err))
	g.metrics.rewinds.Inc()
	g.kafka.Rewind()
}

// reach tells whether it has kept this instead of the one before.
func (p *positions) reach(offsets map[kafkain.Partition]int64, now time.Time) (instead bool) {
	if n := len(p.history); n > 1 && now.Sub(p.history[n-2].when) < historyStep {
		p.history, instead = p.history[:n-1], true
	}
	p.history = append(p.history, storedAt{now, offsets})
	return instead
}

// reached is how far everything was stored, committed or not.
func (p *positions) reached() map[kafkain.Partition]int64 {
	reached := maps.Clone(p.committed)
	if n := len(p.history); n > 0 {
		maps.Copy(reached, p.history[n-1].offsets)
	}
	return reached
}

// due gives the latest offsets stored at or before until, without those that are
// committed already, and how much of the history they cover.
func (p *positions) due(until time.Time) (offsets map[kafkain.Partition]int64, through int) {
	for through < len(p.history) && !p.history[through].when.After(until) {
		through++
	}
	if through == 0 {
		return nil, 0
	}
	offsets = maps.Clone(p.history[through-1].offsets)
	maps.DeleteFunc(offsets, func(partition kafkain.Partition, offset int64) bool {
		return offset == p.committed[partition]
	})
	return offsets, through
}

func (p *positions) commit(offsets map[kafkain.Partition]int64, through int) {
	maps.Copy(p.committed, offsets)
	p.history = slices.Delete(p.history, 0, through)
}

// insist repeats do until it succeeds, the generation is aborted, or there is
// nothing to wait for.
func (g *generation) insist(what string, do func() error) error {
	b := backoff{}
	for {
		err := do()
		if err == nil {
			if b.attempts > 1 {
				g.log.Info("recovered", zap.String("from", what), zap.Int("attempts", b.attempts))
			}
			g.setTrouble(g.held.trouble())
			return nil
		}
		if g.ctx.Err() != nil || errors.Is(err, store.ErrKeyLost) || errors.Is(err, errReplaced) {
			return err
		}
		g.setTrouble(fmt.Errorf("%s: %w", what, err))
		if b.worthSaying(time.Now(), false) {
			g.log.Warn("ingest waits and tries again", zap.String("at", what), zap.Error(err))
		}
		if !b.wait(g.ctx) {
			return g.ctx.Err()
		}
		g.wipe(time.Now())
	}
}
