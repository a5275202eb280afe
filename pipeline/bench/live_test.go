package bench

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/event"
	"mayfly/pipeline/kafkain/kafkatest"
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
	Lookup    lookUps     `json:"lookup"`            // of an address over 24 h, the current shard of Rows rows
	Alone     lookUps     `json:"lookup_alone"`      // the same before, without ingest
	Growth    []growth    `json:"lookup_growth"`     // of prefixes, without ingest
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
	fullShard = 125_000 // rows of a shard as the warden plans them, and a quarter more
	perFlush  = 139     // of one shard and second, then
)

// runLive has ingest follow a producer of rate events a second for some seconds.
func runLive(t testing.TB, kafka *kafkatest.Cluster, s *servers, rate int, length time.Duration, cold, hot int) *live {
	t.Helper()
	s.empty(t)
	log := s.mint(t, float64(rate)*policy().Epoch.Seconds())
	d := fillDay(t, s, cold, hot)
	l := &live{Rate: rate, Rows: hot, Alone: d.lookUps(t, *dayLookUps)}
	l.Growth = d.growth(t)
	over := make(chan struct{})
	var looking sync.WaitGroup
	looking.Go(func() { l.Lookup = d.lookUp(t.Context(), t, over) })
	events := l.follow(t, kafka, s, log, length, "")
	close(over)
	looking.Wait()
	l.Purge = s.purge(t, events)
	return l
}

// follow has ingest follow a producer for some seconds, and looks for events of its own
// meanwhile. It gives how many events there were.
func (l *live) follow(t testing.TB, kafka *kafkatest.Cluster, s *servers, log *minted, length time.Duration, profiles string) (events int) {
	t.Helper()
	topic := fmt.Sprintf("live-%d", time.Now().UnixNano())
	kafka.CreateTopic(t, topic, partitions, nil)
	probes := int(length/probeEvery) - 4
	events = l.Rate*int(length/time.Second) + probes

	var ingest, probing sync.WaitGroup
	ingest.Go(func() {
		l.Ingest = execute(t, task{
			Contender: ingestion, Brokers: kafka.Brokers(), Topic: topic, Events: events, Group: topic,
			Redis: s.data.Addr, Keyring: s.keys.URL(), Profiles: profiles,
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), taskLimit)
	defer cancel()
	client := kafka.Client(t)
	probing.Go(func() { l.Freshness = percentilesOf(probe(ctx, t, client, topic, log.reader, probes)) })
	l.Produced = execute(t, task{
		Contender: production, Brokers: kafka.Brokers(), Topic: topic, Events: events - probes, Rate: l.Rate,
	}).Seconds
	probing.Wait()
	ingest.Wait()
	if n := log.stored(t); n != uint64(events) {
		t.Fatalf("%d of %d events are stored", n, events)
	}
	return events
}

// produce is the producer's process: it sends Rate events a second, the same ones
// again and again, a hundredth of a second's at a time, until Events are sent. Beside
// the look-ups it would share their garbage collector.
func produce(ctx context.Context, t task, watch *stopwatch) error {
	values, err := referenceValues(min(t.Rate, 200_000))
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(t.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.SnappyCompression()), kgo.ProducerLinger(20*time.Millisecond), kgo.MaxBufferedRecords(t.Rate))
	if err != nil {
		return err
	}
	defer client.Close()
	watch.start()
	var failed atomic.Int64
	const ticks = 100 // per second
	next := 0
	for tick := 0; next < t.Events; tick++ {
		time.Sleep(time.Until(watch.began.Add(time.Duration(tick) * time.Second / ticks)))
		until := min(t.Rate*(tick+1)/ticks, t.Events)
		for ; next < until; next++ {
			r := &kgo.Record{Topic: t.Topic, Partition: int32(next % partitions), Value: values[next%len(values)]}
			client.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					failed.Add(1)
				}
			})
		}
	}
	err = client.Flush(ctx)
	watch.stop()
	if n := failed.Load(); n > 0 {
		return fmt.Errorf("producing: %d events failed", n)
	}
	return err
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
