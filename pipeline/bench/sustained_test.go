package bench

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
	"mayfly/retention/store"
)

// runSustained has ingest store all events, and then a compactor make them small: at
// a rate that goes on, both share the machine, and this is what an event takes of it.
func runSustained(t testing.TB, of task) run {
	t.Helper()
	of.Contender = ingestion
	result := execute(t, of)
	of.Contender = compaction
	compacted := execute(t, of)
	compacted.Contender, compacted.Events = compaction, of.Events
	result.Seconds += compacted.Seconds
	result.CPUMicros += compacted.CPUMicros
	result.Allocations += compacted.Allocations
	result.Allocated += compacted.Allocated
	result.PeakMB = max(result.PeakMB, compacted.PeakMB)
	result.Compaction = &compacted
	return result
}

// compactEpoch is the compactor's process: it brings filledEpoch into the cold tier.
func compactEpoch(ctx context.Context, t task, watch *stopwatch) error {
	debug.SetMemoryLimit(compactMemory)
	config := redisconn.DefaultConfig()
	config.Addrs = []string{t.Redis}
	data, err := redisconn.Open(config)
	if err != nil {
		return err
	}
	defer data.Close()
	node, err := redisconn.OpenNode(t.Keyring)
	if err != nil {
		return err
	}
	defer node.Close()
	ring, err := keyring.New(keyring.NewRedisNode("bench", node))
	if err != nil {
		return err
	}
	kek, err := keyring.OpenKEK(t.KEK, time.Now())
	if err != nil {
		return err
	}
	compactor := store.NewCompactor(store.NewReader(retention.Policies{policy()}, running(ctx, keyring.NewOpener(ring, kek, zap.NewNop())), store.NewRedis(data)))
	watch.start()
	defer watch.stop()
	units, _, err := compactor.Units(ctx, filledEpoch())
	if err != nil {
		return err
	}
	for _, unit := range units {
		switch done, err := compactor.Compact(ctx, unit); {
		case err != nil:
			return err
		case done.Left > 0:
			return errors.New("some frames stay hot")
		}
	}
	return nil
}

// stall has ingest take a backlog as fast as it can. Once the first events are stored,
// Redis is stopped for a while, so that memory is all that is left to take events.
func (s *servers) stall(t testing.TB, of task, length time.Duration) *run {
	t.Helper()
	s.empty(t)
	log := s.mint(t, workloadRate*policy().Epoch.Seconds())
	keys := s.dataClient.DBSize(t.Context()).Val()
	var ingest sync.WaitGroup
	over := make(chan struct{})
	var result run
	ingest.Go(func() {
		defer close(over)
		result = execute(t, of)
	})
	for s.dataClient.DBSize(t.Context()).Val() == keys {
		select {
		case <-over:
			t.Fatal("ingest has ended and stored nothing")
		case <-time.After(time.Millisecond):
		}
	}
	s.data.Suspend(t)
	time.Sleep(length)
	s.data.Resume(t)
	ingest.Wait()
	if n := log.stored(t); n != uint64(of.Events) {
		t.Fatalf("%d of %d events are stored after a stall", n, of.Events)
	}
	result.Contender, result.Events = of.Contender, of.Events
	return &result
}
