package pipeline

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/pipeline/kafkain"
	"mayfly/retention"
)

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

// place is where a record went.
type place struct {
	Epoch retention.Epoch
	Time  int64
}

// places hands records to a new lane in batches and tells where each one went.
func places(t *testing.T, r *rig, records []kafkain.Record, appendTime bool, batch int) map[int64]place {
	t.Helper()
	l := newLane(r.Ingest, partition(0), 0, make(chan struct{}, 1))
	found := map[int64]place{}
	for part := range slices.Chunk(records, batch) {
		b := &kafkain.Batch{Partition: partition(0), AppendTime: appendTime, Records: part, Next: part[len(part)-1].Offset + 1}
		if err := l.handle(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		s, _, _, held := l.harvest()
		for _, batch := range s.batches {
			for _, rows := range batch.Rows {
				for i := range rows.All() {
					r := rows.Record(i)
					found[r.ID.Offset] = place{batch.Epoch, r.Time}
				}
			}
		}
		s.erase()
		r.Ingest.memory.Release(held)
	}
	return found
}

// history draws events of the last five minutes, out of order, some stamped before they say they happened.
func history(now time.Time, n int) (records []kafkain.Record, times []time.Time) {
	draw := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		at := now.Add(-time.Duration(draw.IntN(300_000)) * time.Millisecond)
		stamp := at.Add(time.Duration(draw.IntN(8_000)-3_000) * time.Millisecond)
		if stamp.After(now) {
			stamp = now
		}
		records = append(records, kafkain.Record{Offset: int64(i), Stamp: stamp.UnixMilli(), Value: messageAt(i, at)})
		times = append(times, at)
	}
	return records, times
}

func TestWhereAnEventGoesDependsOnItsRecordAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(1), nil)
		records, times := history(time.Now(), 2000)
		want := map[int64]place{}
		for i, record := range records {
			at := min(times[i].UnixMilli(), record.Stamp)
			want[record.Offset] = place{r.policy.EpochAt(time.UnixMilli(at)), at}
		}
		for _, batch := range []int{1, 7, 500, len(records)} {
			if diff := cmp.Diff(want, places(t, r, records, false, batch)); diff != "" {
				t.Fatalf("in batches of %d (-want +got):\n%s", batch, diff)
			}
			time.Sleep(70 * time.Second) // a replay is later, and lands in the same place
		}
	})
}

func TestTimeOfABatchStampedByTheBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(1), nil)
		now := time.Now()
		skewed := now.Add(time.Minute) // the broker's clock, not a producer's claim: no refusal
		records := []kafkain.Record{
			{Offset: 0, Stamp: now.UnixMilli(), Value: messageAt(1, now.Add(-3*time.Minute))},
			{Offset: 1, Stamp: now.UnixMilli(), Value: messageAt(2, now.Add(4*time.Second))},
			{Offset: 2, Stamp: now.UnixMilli(), Value: messageAt(3, now.Add(time.Hour))},
			{Offset: 3, Stamp: skewed.UnixMilli(), Value: messageAt(4, skewed)},
		}
		at := func(when time.Time) place { return place{r.policy.EpochAt(when), when.UnixMilli()} }
		want := map[int64]place{0: at(now.Add(-3 * time.Minute)), 1: at(now), 3: at(skewed)}
		if diff := cmp.Diff(want, places(t, r, records, true, 10)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if r.count(resultTimeFuture) != 1 || r.count(resultStampFuture) != 0 {
			t.Error("an event of the future was not refused for its own time")
		}
		delete(want, 3)
		if diff := cmp.Diff(want, places(t, r, records, false, 10)); diff != "" {
			t.Errorf("stamped by the producer (-want +got):\n%s", diff)
		}
	})
}

// What a cut log holds is new, though its offsets are not.
func TestALogThatWasCutShortIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(100)
		l.write(0, messages(0, 10)...)
		l.committed[partition(0)] = 1000
		r := ingesting(t, l)
		time.Sleep(20 * time.Second)
		r.expectFound(t, 10)
		if end := l.committedTo(0); end != 10 {
			t.Errorf("committed %d, want 10", end)
		}
		r.stop(t)
	})
}
