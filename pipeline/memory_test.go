package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"mayfly/retention/record"
)

// stalled is a store that does not answer until released.
func stalled(r *rig) (release func()) {
	gate := make(chan struct{})
	r.faults.set(func(f *faults) {
		f.append = func(ctx context.Context, do func() error) error {
			select {
			case <-gate:
				return do()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return func() { close(gate) }
}

// held is the memory of all lanes, used or not, once all of them wait.
func (r *rig) held() (bytes int64) {
	synctest.Wait()
	for _, l := range r.current.lanes {
		l.mu.Lock()
		for _, s := range []*slab{l.slab, l.spare} {
			for _, b := range s.batches {
				bytes += int64(len(b.Rows)) * record.BlockSize
			}
		}
		l.mu.Unlock()
	}
	return bytes
}

func TestAStalledStoreStopsReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const partitions, each, batch = 4, 10_000, 500
		l := newLog(batch)
		for n := range int32(partitions) {
			l.write(n, messages(0, each)...)
		}
		r := newRig(t, l, func(c *Config) { c.Memory = 1 << 20 })
		r.warden(t)
		release := stalled(r)
		r.start(t)
		time.Sleep(time.Minute)
		most := float64(r.config.Memory + partitions*batch*(record.RowSize+40))
		if waiting := testutil.ToFloat64(r.metrics.waiting); waiting < float64(r.config.Memory)/2 || waiting > most {
			t.Errorf("%v bytes wait, want about %d and at most %v", waiting, r.config.Memory, most)
		}
		// The accounts are true: there is no more memory, but for blocks that are not full.
		const notFull = partitions * 2 * record.BlockSize
		if held := r.held(); held > int64(most)+notFull {
			t.Errorf("lanes hold %d bytes, want at most %d", held, int64(most)+notFull)
		}
		stopped := look(l, func() int { return l.handled })
		time.Sleep(time.Minute)
		if now := look(l, func() int { return l.handled }); now != stopped || now >= partitions*each/2 {
			t.Errorf("reading went on from %d to %d records without a store", stopped, now)
		}
		release()
		time.Sleep(time.Minute)
		if n := r.count(resultStored); n != partitions*each {
			t.Errorf("%d events stored, want %d", n, partitions*each)
		}
		r.stop(t)
	})
}

func TestABatchLargerThanTheBoundPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const each = 10_000 // about 2 MB
		l := newLog(each)
		for n := range int32(3) {
			l.write(n, messages(0, each)...)
			l.write(n, messages(each, each)...)
		}
		// Where memory runs out, events are stored without waiting for more.
		r := newRig(t, l, func(c *Config) { c.Memory, c.Linger = 1<<20, time.Minute })
		r.warden(t)
		r.start(t)
		time.Sleep(10 * time.Second)
		if handled := look(l, func() int { return l.handled }); handled < 3*2*each {
			t.Errorf("%d records taken in 10 s", handled)
		}
		time.Sleep(2 * time.Minute)
		if n := r.count(resultStored); n != 3*2*each {
			t.Errorf("%d events stored, want %d", n, 3*2*each)
		}
		r.stop(t)
	})
}

// An ingest that reads the last events again, over and over, keeps its memory.
func TestRewindsGiveMemoryBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(500)
		for n := range int32(4) {
			l.write(n, messages(0, 5_000)...)
		}
		r := newRig(t, l, func(c *Config) { c.Memory = 1 << 20 })
		r.warden(t)
		r.faults.slow = 10 * time.Millisecond // in which partitions take more
		r.start(t)
		for _, identity := range []string{"a", "b", "c", "d", "e"} {
			release := stalled(r)
			time.Sleep(3 * time.Second) // the memory is full, and every partition waits
			r.faults.set(func(f *faults) { f.health.Identity = identity })
			release()
			time.Sleep(30 * time.Millisecond)
		}
		r.faults.set(func(f *faults) { f.append = nil })
		time.Sleep(time.Minute)
		if n := look(l, func() int { return l.rewinds }); n != 5 {
			t.Errorf("%d rewinds, want 5", n)
		}
		for n := range int32(4) {
			if end := l.committedTo(n); end != 5_000 {
				t.Errorf("partition %d is committed up to %d", n, end)
			}
		}
		r.stop(t)
	})
}
