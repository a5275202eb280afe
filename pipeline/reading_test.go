package pipeline

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/store"
	"mayfly/retention/tally"
)

// restart puts another ingest, with a writer of its own, in the place of one that has ended.
func (r *rig) restart(t *testing.T) {
	t.Helper()
	again, err := New(r.config, Dependencies{
		Policies: retention.Policies{r.policy}, Writer: store.NewWriter(r.ring, r.faults), Store: r.faults,
		Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Ingest = again
	r.start(t)
}

// tallied adds up what the living epochs say that they have: counts, and offsets by partition.
func (r *rig) tallied(t *testing.T) (sum tally.Counts, offsets map[int32][]tally.Range) {
	t.Helper()
	offsets = map[int32][]tally.Range{}
	for _, epoch := range r.policy.Live(time.Now()) {
		of, err := r.reader.Tally(t.Context(), epoch)
		if err != nil {
			t.Fatalf("epoch %v: %v", epoch, err)
		}
		if of.Partial {
			t.Errorf("epoch %v is counted in part", epoch)
		}
		sum.Stored += of.Stored
		sum.Rejected += of.Rejected
		sum.Expired += of.Expired
		for _, topic := range of.Topics {
			if topic.Name != "connections" || topic.ID != partition(0).ID {
				t.Errorf("topic %q", topic.Name)
			}
			for _, p := range topic.Partitions {
				offsets[p.Number] = tally.Join(append(offsets[p.Number], p.Ranges...))
			}
		}
	}
	return sum, offsets
}

// produced writes n messages to a partition: of each ten one is no event, one of no policy
// and one long past its deadline.
func (r *rig) produced(n int, to int32) {
	for i := range n {
		value := message(i)
		switch i % 10 {
		case 3:
			value = []byte(`{"time":`)
		case 5:
			value = fmt.Appendf(nil, `{"time":%d,"account":"a","ip":"198.51.100.1","server":"mail"}`, time.Now().UnixMilli())
		case 7:
			value = messageAt(i, time.Now().Add(-2*r.policy.Window))
		}
		r.log.write(to, value)
	}
}

// Whatever is read twice, after a restart, a failover or a commit that was refused, each
// message counts once, in ranges without a gap.
func TestEachMessageIsTalliedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(37), nil)
		r.produced(100, 0)
		r.produced(200, 1)
		r.warden(t)
		r.start(t)
		for i := range 90 { // of several epochs
			if i == 80 { // in the middle of an epoch
				r.log.mu.Lock()
				r.log.refusal = errAway
				r.log.mu.Unlock()
			}
			r.produced(10, 0)
			r.produced(10, 1)
			time.Sleep(time.Second)
		}
		r.stop(t) // Kafka has taken no commit of the last ten seconds
		r.log.refusal = nil
		if look(r.log, func() int64 { return r.log.committed[partition(1)] }) > 950 {
			t.Fatal("nothing is read again")
		}
		r.restart(t)
		r.produced(300, 0)
		time.Sleep(3500 * time.Millisecond)
		r.faults.set(func(f *faults) { f.health.Identity = "second" })
		r.produced(50, 1)
		time.Sleep(4 * time.Second)
		r.produced(50, 1)
		time.Sleep(30 * time.Second)
		sum, offsets := r.tallied(t)
		const n = 2500
		if want := (tally.Counts{Stored: n * 7 / 10, Rejected: n * 2 / 10, Expired: n / 10}); sum != want {
			t.Errorf("tallied %+v, want %+v", sum, want)
		}
		if diff := cmp.Diff(map[int32][]tally.Range{0: {{Next: 1300}}, 1: {{Next: 1200}}}, offsets); diff != "" {
			t.Errorf("offsets (-want +got):\n%s", diff)
		}
		if r.log.rewinds == 0 {
			t.Error("there was no failover")
		}
		r.stop(t)
	})
}

// Where nothing is stored, what was refused is said all the same.
func TestRefusalsAloneAreTallied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(100), nil)
		r.warden(t)
		r.log.write(0, []byte("no"), []byte("no"), []byte("no"))
		r.start(t)
		time.Sleep(3 * time.Second)
		sum, offsets := r.tallied(t)
		if want := (tally.Counts{Rejected: 3}); sum != want || len(offsets[0]) != 1 || offsets[0][0] != (tally.Range{Next: 3}) {
			t.Errorf("tallied %+v, %v", sum, offsets)
		}
		r.stop(t)
	})
}

// Events that come due while they wait for a store count as expired, in the present epoch.
func TestWhatComesDueWhileItWaitsIsTallied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(100), nil)
		r.warden(t)
		r.log.write(0, messages(0, 40)...)
		r.faults.append = failures["not applied"]
		r.start(t)
		time.Sleep(r.policy.Window + r.policy.Epoch)
		r.faults.set(func(f *faults) { f.append = nil })
		time.Sleep(40 * time.Second)
		r.log.write(0, message(40))
		time.Sleep(5 * time.Second)
		if sum, _ := r.tallied(t); sum != (tally.Counts{Stored: 1, Expired: 40}) {
			t.Errorf("tallied %+v", sum)
		}
		r.stop(t)
	})
}

// Offsets that vanished before they were read are a gap, wherever they are in a batch.
func TestVanishedOffsetsAreNotRead(t *testing.T) {
	t.Parallel()
	r := func(from, next int64) tally.Range { return tally.Range{From: from, Next: next} }
	record := func(offsets ...int64) (records []kafkain.Record) {
		for _, o := range offsets {
			records = append(records, kafkain.Record{Offset: o})
		}
		return records
	}
	for name, c := range map[string]struct {
		batch kafkain.Batch
		want  []tally.Range
	}{
		"none":                {kafkain.Batch{Records: record(10, 11), Next: 12}, []tally.Range{r(10, 12)}},
		"markers":             {kafkain.Batch{Records: record(11, 13), Next: 20}, []tally.Range{r(10, 20)}},
		"before the first":    {kafkain.Batch{Records: record(15, 16), Next: 17, Gap: 5}, []tally.Range{r(15, 17)}},
		"between two":         {kafkain.Batch{Records: record(10, 15), Next: 16, Gap: 4}, []tally.Range{r(10, 11), r(15, 16)}},
		"behind the last":     {kafkain.Batch{Records: record(10), Next: 16, Gap: 5}, []tally.Range{r(10, 11)}},
		"all":                 {kafkain.Batch{Next: 50, Gap: 40}, nil},
		"read already":        {kafkain.Batch{Records: record(7, 8, 9, 10, 14), Next: 15, Gap: 3}, []tally.Range{r(10, 11), r(14, 15)}},
		"all is read already": {kafkain.Batch{Records: record(7, 8), Next: 9}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lane{next: 10}
			l.note(&c.batch)
			if diff := cmp.Diff(c.want, l.read.Ranges); diff != "" {
				t.Error(diff)
			}
		})
	}
}
