package bench

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain/kafkatest"
	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// live is what somebody sees who uses Mayfly while events come in at a steady rate.
type live struct {
	Rate      int         `json:"rate_per_second"`
	Ingest    run         `json:"ingest"`
	Produced  float64     `json:"produced_seconds"`
	Freshness percentiles `json:"freshness_seconds"` // acknowledged by Kafka until found
	Lookup    percentiles `json:"lookup_seconds"`    // of an address in a shard of Rows rows
	Rows      int         `json:"lookup_rows"`
	Purge     purge       `json:"purge"`
}

type percentiles struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"` // the worst, where there are fewer than a hundred
	Max float64 `json:"max"`
}

func percentilesOf(samples []time.Duration) percentiles {
	if len(samples) == 0 {
		return percentiles{}
	}
	slices.Sort(samples)
	at := func(share float64) float64 {
		return samples[min(int(share*float64(len(samples))), len(samples)-1)].Seconds()
	}
	return percentiles{len(samples), at(0.5), at(0.99), at(1)}
}

const (
	fullShard = 250_000 // rows of a shard as the warden plans them
	perFlush  = 222     // of one shard and second, at workloadRate
)

// runLive has ingest follow a producer of rate events a second for some seconds.
func runLive(t testing.TB, kafka *kafkatest.Cluster, s *servers, rate int, length time.Duration) *live {
	t.Helper()
	s.empty(t)
	log := s.mint(t)
	shard := fillShard(t, s)
	topic := fmt.Sprintf("live-%d", time.Now().UnixNano())
	kafka.CreateTopic(t, topic, partitions, nil)
	probes := int(length/probeEvery) - 4
	events := rate*int(length/time.Second) + probes

	l := &live{Rate: rate, Rows: fullShard}
	var ingest sync.WaitGroup
	ingest.Go(func() {
		l.Ingest = execute(t, task{
			Contender: ingestion, Brokers: kafka.Brokers(), Topic: topic, Events: events, Group: topic,
			Redis: s.data.Addr, Keyring: s.keys.URL(),
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), taskLimit)
	defer cancel()
	client := kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.SnappyCompression()),
		kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(rate))
	var looking, probing sync.WaitGroup
	over := make(chan struct{})
	looking.Go(func() { l.Lookup = percentilesOf(shard.lookUp(ctx, t, over)) })
	probing.Go(func() { l.Freshness = percentilesOf(probe(ctx, t, client, topic, log.reader, probes)) })
	began := time.Now()
	produce(ctx, t, client, topic, rate, length)
	l.Produced = time.Since(began).Seconds()
	probing.Wait()
	close(over)
	looking.Wait()
	ingest.Wait()
	if n := log.stored(t); n != uint64(events) {
		t.Fatalf("%d of %d events are stored", n, events)
	}
	l.Purge = s.purge(t, events)
	return l
}

// produce sends rate events a second, the same ones again and again, a hundredth of
// a second's at a time.
func produce(ctx context.Context, t testing.TB, client *kgo.Client, topic string, rate int, length time.Duration) {
	t.Helper()
	values := referenceValues(t, min(rate, 200_000))
	var failed atomic.Int64
	began := time.Now()
	const ticks = 100 // per second
	next := 0
	for tick := range int(length.Seconds()) * ticks {
		time.Sleep(time.Until(began.Add(time.Duration(tick) * time.Second / ticks)))
		until := rate * (tick + 1) / ticks
		for ; next < until; next++ {
			r := &kgo.Record{Topic: topic, Partition: int32(next % partitions), Value: values[next%len(values)]}
			client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Add(1)
				}
			})
		}
	}
	if err := client.Flush(ctx); err != nil || failed.Load() > 0 {
		t.Fatalf("producing: %d failed, %v", failed.Load(), err)
	}
}

// probeEvery is the time from one probe to the next.
const probeEvery = 500 * time.Millisecond

// probe sends events of addresses of their own, and asks for each until it is found.
func probe(ctx context.Context, t testing.TB, client *kgo.Client, topic string, reader *store.Reader, probes int) []time.Duration {
	found := make([]time.Duration, probes)
	var asking sync.WaitGroup
	for i := range probes {
		time.Sleep(probeEvery)
		ip := netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})
		a, _ := address.From(ip)
		e := event.Event{Time: filledEpoch().Start + 1, Account: fmt.Sprint("probe-", i), Address: a, RTT: -1}
		r := &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: event.Append(nil, &e)}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Errorf("producing: %v", err)
			break
		}
		asking.Go(func() {
			sent := time.Now()
			q := store.Query{Prefix: netip.PrefixFrom(ip, 32)}
			for !answers(ctx, t, reader, q, e.Account) {
				time.Sleep(50 * time.Millisecond)
			}
			found[i] = time.Since(sent)
		})
	}
	asking.Wait()
	return found
}

// answers reports whether a look-up finds the account, or never will.
func answers(ctx context.Context, t testing.TB, reader *store.Reader, q store.Query, account string) bool {
	answer, err := reader.Find(ctx, q)
	if err != nil {
		t.Errorf("looking up: %v", err)
		return true
	}
	return slices.ContainsFunc(answer.Records, func(r record.Record) bool { return r.Account == account })
}

// shardOf is an epoch of one shard, full as a busy one is, of a policy of its own.
type shardOf struct {
	reader    *store.Reader
	addresses []netip.Addr
}

// fillShard writes fullShard records, in frames as ingest makes them.
func fillShard(t testing.TB, s *servers) *shardOf {
	t.Helper()
	p := retention.Policy{Name: "shard", Window: 24 * time.Hour, Epoch: 15 * time.Minute}
	ring, err := keyring.New(keyring.NewRedisNode("bench", s.keysClient))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log := store.NewRedis(s.dataClient)
	epoch := p.EpochAt(began)
	if _, err := ring.Mint(t.Context(), epoch, epoch.Deadline(p.Window), kek, func() uint32 { return 1 },
		func(key keyring.Public) error { return log.Open(t.Context(), key) }); err != nil {
		t.Fatal(err)
	}
	writer := store.NewWriter(ring, log)
	records := reference(t, fullShard/partitions*partitions, "short8")
	slices.SortFunc(records, func(a, b record.Record) int { return cmp.Compare(a.ID.Offset, b.ID.Offset) })
	shard := &shardOf{reader: store.NewReader(retention.Policies{p}, keyring.NewOpener(ring, kek, zap.NewNop()), log)}
	for part := range slices.Chunk(records, perFlush) {
		sealed, err := writer.Seal(t.Context(), []store.Batch{{Epoch: epoch, Deadline: epoch.Deadline(p.Window), Records: part}})
		if err == nil {
			err = writer.Append(t.Context(), sealed)
		}
		if err != nil {
			t.Fatalf("filling a shard: %v", err)
		}
		shard.addresses = append(shard.addresses, part[0].Address.Reveal())
	}
	return shard
}

// lookUp asks for one address after the other, five a second, until over.
func (s *shardOf) lookUp(ctx context.Context, t testing.TB, over <-chan struct{}) []time.Duration {
	var took []time.Duration
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-over:
			return took
		case <-tick.C:
		}
		ip := s.addresses[i%len(s.addresses)]
		asked := time.Now()
		answer, err := s.reader.Find(ctx, store.Query{Prefix: netip.PrefixFrom(ip, ip.BitLen())})
		if took = append(took, time.Since(asked)); err != nil || len(answer.Records) == 0 {
			t.Errorf("a look-up finds %d records, %v", len(answer.Records), err)
			return took
		}
	}
}

// purge is what unlinking a whole epoch takes.
type purge struct {
	Events  int     `json:"events"`
	Seconds float64 `json:"seconds"`       // unlinked, and verified that nothing is left
	Stall   float64 `json:"stall_seconds"` // the longest that Redis kept another client waiting meanwhile
}

func (s *servers) purge(t testing.TB, events int) purge {
	t.Helper()
	ring, err := keyring.New(keyring.NewRedisNode("bench", s.keysClient))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ring.Public(t.Context(), filledEpoch())
	if err != nil {
		t.Fatal(err)
	}
	var stall time.Duration
	over := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			asked := time.Now()
			_ = s.dataClient.Ping(t.Context()).Err()
			stall = max(stall, time.Since(asked))
		}
	})
	began := time.Now()
	err = store.NewRedis(s.dataClient).Unlink(t.Context(), filledEpoch(), keys)
	took := time.Since(began)
	close(over)
	waiting.Wait()
	if err != nil {
		t.Fatalf("purging: %v", err)
	}
	return purge{events, took.Seconds(), stall.Seconds()}
}
