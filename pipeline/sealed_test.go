package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/record"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// sealed is a message with n events of the epoch at a time, numbered from first.
func (r *rig) sealed(t *testing.T, at time.Time, first, n int) []byte {
	t.Helper()
	keys, err := r.ring.Public(t.Context(), r.policy.EpochAt(at))
	if err != nil {
		t.Fatal(err)
	}
	edge, err := store.NewEdge(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	records := make([]record.Record, n)
	for i := range records {
		a, _ := address.From(netip.AddrFrom4([4]byte{198, 51, byte((first + i) / 256), byte(first + i)}))
		records[i] = record.Record{Time: at.UnixMilli(), Address: a, Account: fmt.Sprint("account-", first+i), Event: "connect"}
	}
	return edge.Seal(nil, records)
}

func TestSealedAndPlainMessagesGoTheSameWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(7)
		r := ingesting(t, l)
		for i := range 20 {
			l.write(0, message(i))
			l.write(0, r.sealed(t, time.Now(), 1000+10*i, 10))
			time.Sleep(4900 * time.Millisecond) // never at an epoch's very start
		}
		r.faults.set(func(f *faults) { f.health = store.Health{Identity: "the replica"} }) // the last seconds are read again
		time.Sleep(20 * time.Second)
		if found := len(r.found(t)); found != 20+20*10 {
			t.Errorf("%d events found", found)
		}
		r.stop(t)
		if stored := r.count(resultStored); stored < 220 {
			t.Errorf("%d events stored", stored)
		}
		if rewinds := look(l, func() int { return l.rewinds }); rewinds != 1 {
			t.Errorf("%d rewinds", rewinds)
		}
		if through := l.committedTo(0); through != 40 {
			t.Errorf("committed to %d of 40", through)
		}
	})
}

func TestOnlySealedBatchesAreTakenWhereTheTopicIsSealed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(7)
		r := newRig(t, l, nil)
		r.sealedOnly = true
		r.warden(t)
		r.start(t)
		l.write(0, message(0), r.sealed(t, time.Now(), 1000, 10), message(1))
		time.Sleep(20 * time.Second)
		if found := len(r.found(t)); found != 10 || r.count(resultPlain) != 2 || r.count(resultStored) != 10 {
			t.Errorf("%d found, %d plain, %d stored", found, r.count(resultPlain), r.count(resultStored))
		}
		r.stop(t)
	})
}

// What can be known of a batch without opening it is judged as for plain events.
func TestASealedBatchIsJudgedByItsHead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(1), nil)
		r.mint()
		now := time.Now()
		good := r.sealed(t, now, 0, 10)
		changed := func(change func(*seal.Batch)) []byte {
			b, err := seal.ParseBatch(good)
			if err != nil {
				t.Fatal(err)
			}
			change(&b)
			return b.Append(nil)
		}
		late := r.policy.EpochAt(now.Add(-r.policy.Window - r.policy.Epoch))
		next := r.policy.EpochAt(now.Add(r.policy.Epoch))
		for name, c := range map[string]struct {
			message []byte
			stamp   time.Time
			result  string
			events  int
		}{
			"good":             {good, now, "", 10},
			"cut":              {good[:len(good)-1], now, resultBadBatch, 1},
			"unknown policy":   {changed(func(b *seal.Batch) { b.Epoch.Policy = "other" }), now, resultNoPolicy, 10},
			"unknown length":   {changed(func(b *seal.Batch) { b.Epoch = retention.Epoch{Policy: "web", Start: late.Start, Length: 1000} }), now, resultNoPolicy, 10},
			"past deadline":    {changed(func(b *seal.Batch) { b.Epoch = late }), now, resultExpired, 10},
			"epoch to come":    {changed(func(b *seal.Batch) { b.Epoch = next }), now, resultTimeFuture, 10},
			"stamp in advance": {good, now.Add(time.Minute), resultStampFuture, 10},
		} {
			l := newLane(r.Ingest, partition(0), 0, make(chan struct{}, 1))
			batch := &kafkain.Batch{Partition: partition(0)}
			record := &kafkain.Record{Offset: 3, Stamp: c.stamp.UnixMilli(), Value: c.message}
			result, events := l.takeSealed(batch, record, now.UnixMilli())
			if result != c.result || events != c.events || (len(l.slab.batches) == 1) != (result == "") {
				t.Errorf("%s: %q, %d events, %d batches wait", name, result, events, len(l.slab.batches))
			}
			if again, _ := l.takeSealed(batch, record, now.UnixMilli()); again != resultDuplicate {
				t.Errorf("%s again: %q", name, again)
			}
		}
	})
}

// A key that nobody has holds up nothing, and a batch that waits uses no memory of
// Kafka's: its bytes are used again.
func TestAFalseBatchHoldsUpNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog(7)
		r := ingesting(t, l)
		good := r.sealed(t, time.Now(), 0, 10)
		b, err := seal.ParseBatch(good)
		if err != nil {
			t.Fatal(err)
		}
		b.Key[3]++
		l.write(0, b.Append(nil), good)
		time.Sleep(20 * time.Second)
		through := l.committedTo(0)
		if found := len(r.found(t)); found != 10 || r.count(resultUnreadable) != 10 || through != 2 {
			t.Errorf("%d found, %d unreadable, committed to %d", found, r.count(resultUnreadable), through)
		}
		r.stop(t)
	})
}

func TestAWaitingBatchKeepsNothingOfKafkasMemory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newLog(1), nil)
		r.mint()
		message := r.sealed(t, time.Now(), 0, 10)
		l := newLane(r.Ingest, partition(0), 0, make(chan struct{}, 1))
		value := bytes.Clone(message)
		b := &kafkain.Batch{Partition: partition(0), Next: 1, Records: []kafkain.Record{{Stamp: time.Now().UnixMilli(), Value: value}}}
		if err := l.handle(context.Background(), b); err != nil {
			t.Fatal(err)
		}
		clear(value)
		s, _, _, held := l.harvest()
		if held < int64(len(message)) {
			t.Errorf("%d bytes are accounted for of a message of %d", held, len(message))
		}
		if again := s.batches[0].Edge.Append(nil); !bytes.Equal(again, message) {
			t.Error("the batch has changed with Kafka's buffer")
		}
		r.Ingest.memory.Release(held)
	})
}
