package bench

import (
	"cmp"
	"flag"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9" //nolint:depguard // asks a server for its figures
	"go.uber.org/zap"

	"mayfly/pipeline/workload"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

var (
	coldEvents = flag.Int("cold-events", 90_000, "events in the epoch that is compacted, 15 minutes of the reference workload")
	coldShards = flag.Int("cold-shards", 0, "shards of that epoch; 0: one for each 100,000 events")
	coldSealed = flag.Bool("cold-sealed", false, "the events were sealed at the edge, 500 in a batch")
	coldRate   = flag.Int("cold-per-account", 45, "events per account in that epoch")
)

// What the design asks for, Redis's own overhead included.
const (
	mostCold      = 16.0                // bytes an event, account ids of 8 bytes
	mostColdUUID  = 23.0                // the same, UUIDs
	compactMemory = 240 << 20           // soft limit, as mayfly compact sets it
	mostMemory    = 256.0               // MB of the process, whatever the epoch has
	mostTouched   = mostTouchedDay / 96 // records decoded in vain in an epoch for a look-up of one address
)

// TestColdBytesPerEvent compacts an epoch of the reference workload in real Redis.
func TestColdBytesPerEvent(t *testing.T) {
	for ids, most := range map[string]float64{"short8": mostCold, "uuid": mostColdUUID} {
		t.Run(ids, func(t *testing.T) {
			client := redistest.Start(t).Client(t)
			e := newColdEpoch(t, store.NewRedis(client), ids, *coldEvents, cmp.Or(*coldShards, *coldEvents/100_000+1))
			hot := memoryOf(t, client)
			limit := debug.SetMemoryLimit(compactMemory)
			resetPeak(t)
			began, cpu := time.Now(), cpuTime()
			in, out := e.compact(t)
			cpu = cpuTime() - cpu
			peak := peakMemory(os.Getpid())
			debug.SetMemoryLimit(limit)
			cold := memoryOf(t, client)
			n := float64(*coldEvents)
			touched, median := e.lookUps(t)
			t.Logf("%s: %d events: Redis %.2f B an event hot, %.2f cold; sealed %.2f in, %.2f out; compacting took %.2f µs of CPU an event (%v) and %.0f MB; "+
				"a look-up decodes %.0f records in vain, median %v", ids, *coldEvents, hot/n, cold/n, in/n, out/n,
				cpu.Seconds()*1e6/n, time.Since(began).Round(time.Millisecond), peak, touched, median.Round(time.Microsecond))
			if peak > mostMemory {
				t.Errorf("a peak of %.0f MB, want at most %v", peak, mostMemory)
			}
			if cold/n > most {
				t.Errorf("%.2f bytes an event, want at most %v", cold/n, most)
			}
			if touched > mostTouched {
				t.Errorf("a look-up of an address decodes %.0f records in vain, want at most %.0f", touched, mostTouched)
			}
		})
	}
}

type coldEpoch struct {
	epoch     retention.Epoch
	reader    *store.Reader
	addresses []netip.Prefix
}

// newColdEpoch fills an epoch from 18:00 yesterday.
func newColdEpoch(t testing.TB, s store.Store, ids string, events, shards int) *coldEpoch {
	t.Helper()
	ctx := t.Context()
	policy := retention.Policy{Name: "cold", Window: 72 * time.Hour, Epoch: 15 * time.Minute}
	begin := time.Now().UTC().Truncate(24 * time.Hour).Add(-6 * time.Hour)
	ring, err := keyring.New(keyring.NewMemoryNode("bench"))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := &coldEpoch{epoch: policy.EpochAt(begin)}
	e.reader = store.NewReader(retention.Policies{policy}, running(ctx, keyring.NewOpener(ring, kek, zap.NewNop())), s)
	deadline := e.epoch.Deadline(policy.Window)
	keys, err := ring.Mint(ctx, e.epoch, deadline, kek, func() uint32 { return uint32(shards) },
		func(key keyring.Public) error { return s.Open(ctx, key) })
	if err != nil {
		t.Fatal(err)
	}
	edge, err := store.NewEdge(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	config := workload.DefaultConfig()
	config.Start, config.IDs = begin, ids
	config.Rate, config.Accounts = float64(events)/900/1.5, events / *coldRate // 1.5 is the evening's load
	generator, err := workload.New(config)
	if err != nil {
		t.Fatal(err)
	}
	writer := store.NewWriter(ring, s)
	batch := store.Batch{Epoch: e.epoch, Deadline: deadline}
	for i := range events {
		event := generator.Next().Event
		r := record.Record{
			ID:   record.ID{Topic: [16]byte{1}, Partition: int32(i % partitions), Offset: int64(i / partitions)},
			Time: min(event.Time, e.epoch.EndTime().UnixMilli()-1), Since: event.Since, Address: event.Address, Ports: event.Ports,
			Account: event.Account, Event: event.Kind, Session: event.Session, Server: event.Server,
		}
		batch.Records = append(batch.Records, r)
		if i%(events/50) == 0 {
			ip := r.Address.Reveal() //nolint:forbidigo // an invented address, to be looked up
			e.addresses = append(e.addresses, netip.PrefixFrom(ip, ip.BitLen()))
		}
		if len(batch.Records) == max(events/450+1, 200) || i == events-1 { // two seconds, mostly
			slices.SortStableFunc(batch.Records, func(a, b record.Record) int { return int(a.ID.Partition - b.ID.Partition) })
			batches := []store.Batch{batch}
			if *coldSealed {
				batches = atEdge(t, edge, batch)
			}
			sealed, err := writer.Seal(ctx, batches)
			if err != nil {
				t.Fatal(err)
			}
			if err := writer.Append(ctx, sealed); err != nil {
				t.Fatal(err)
			}
			batch.Records = nil
		}
	}
	return e
}

// atEdge seals a batch's events as a relay does, and gives what ingest then reads.
func atEdge(t testing.TB, edge *store.Edge, batch store.Batch) (batches []store.Batch) {
	t.Helper()
	for some := range slices.Chunk(batch.Records, 500) {
		id := some[0].ID
		message, err := seal.ParseBatch(edge.Seal(nil, some))
		if err != nil {
			t.Fatal(err)
		}
		batches = append(batches, store.Batch{Epoch: batch.Epoch, Deadline: batch.Deadline, Edge: &store.EdgeBatch{Batch: message, ID: id}})
	}
	return batches
}

// memoryOf is what Redis takes for all keys.
func memoryOf(t *testing.T, client *redis.Client) (bytes float64) {
	t.Helper()
	for _, name := range client.Keys(t.Context(), "*").Val() {
		used, err := client.MemoryUsage(t.Context(), name, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		bytes += float64(used)
	}
	return bytes
}

func (e *coldEpoch) compact(t *testing.T) (in, out float64) {
	t.Helper()
	c := store.NewCompactor(e.reader)
	units, _, err := c.Units(t.Context(), e.epoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		done, err := c.Compact(t.Context(), u)
		if err != nil || done.Left > 0 {
			t.Fatalf("%d frames are left, %v", done.Left, err)
		}
		in, out = in+float64(done.BytesIn), out+float64(done.BytesOut)
	}
	return in, out
}

// lookUps looks addresses up, and gives the mean of the records decoded in vain and the median time.
func (e *coldEpoch) lookUps(t *testing.T) (touched float64, median time.Duration) {
	t.Helper()
	var times []time.Duration
	for _, address := range e.addresses {
		began := time.Now()
		answer, err := e.reader.Find(t.Context(), store.Query{Prefix: address, From: e.epoch.StartTime(), To: e.epoch.EndTime().Add(-1)})
		if err != nil || !answer.Complete || len(answer.Records) == 0 {
			t.Fatalf("%d records, complete %v, %v", len(answer.Records), answer.Complete, err)
		}
		times = append(times, time.Since(began))
		touched += float64(answer.Touched-len(answer.Records)) / float64(len(e.addresses))
	}
	slices.Sort(times)
	return touched, times[len(times)/2]
}

// resetPeak gives back what the test itself took, and forgets the peak so far (proc_pid_clear_refs(5)).
func resetPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
