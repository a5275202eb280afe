package bench

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9" //nolint:depguard // asks for a server's figures
	"go.uber.org/zap"

	"mayfly/pipeline/capacity"
	"mayfly/pipeline/workload"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/record"
	"mayfly/retention/store"
	"mayfly/retention/warden"
)

// service is a simulated one. Of an epoch with many shards only some are written: each
// of them fills up as it would, second by second, with gaps between offsets where other
// shards' events would be. (What differs: a mention names one of fewer shards, in
// log2(all/written) fewer bits, which is added to the figures.)
type service struct {
	rate      float64 // events a second
	ids       string  // as workload.Config has it
	sessions  bool
	processes int // that ingest
	window    time.Duration
	epoch     time.Duration
	most      int // events of an epoch that are written
}

// accountsPerRate makes it a little more than one session that is under way at a
// time for each account: an account is heard of three or four times in a quarter of an hour.
const accountsPerRate = 200

// flatHour is when the workload's day is at its mean, within a hundredth or two for a quarter of an hour.
var flatHour = time.Date(2026, 1, 1, 9, 8, 0, 0, time.UTC)

// simulation is a service on real Redis.
type simulation struct {
	service
	policy   retention.Policy
	now      time.Time
	servers  *servers
	ring     *keyring.Keyring
	kek      keyring.KEK
	log      *store.Redis
	reader   *store.Reader
	shards   uint32 // of a whole epoch
	written  uint32 // of these
	offsets  [][]int64
	draw     *rand.Rand
	heard    int          // events of IPv4
	samples  []netip.Addr // of these
	produced int
}

func simulate(t testing.TB, s *servers, of service) *simulation {
	t.Helper()
	s.empty(t)
	m := &simulation{
		service: of, now: time.Now(), servers: s, log: store.NewRedis(s.dataClient), draw: rand.New(rand.NewPCG(1, 2)),
		policy: retention.Policy{Name: "curve", Window: of.window, Epoch: of.epoch},
	}
	total := of.rate * of.epoch.Seconds()
	m.shards = warden.Shards(uint64(total))
	m.written = max(uint32(float64(m.shards)*min(1, float64(of.most)/total)), 1)
	m.offsets = make([][]int64, of.processes)
	for i := range m.offsets {
		m.offsets[i] = make([]int64, max(partitions/of.processes, 1))
	}
	var err error
	if m.ring, err = keyring.New(keyring.NewRedisNode("bench", s.keysClient)); err != nil {
		t.Fatal(err)
	}
	if m.kek, err = keyring.NewMemoryKEK(time.Now()); err != nil {
		t.Fatal(err)
	}
	m.reader = store.NewReader(retention.Policies{m.policy}, running(t.Context(), keyring.NewOpener(m.ring, m.kek, zap.NewNop())), m.log)
	return m
}

// share is how much of the service is written.
func (m *simulation) share() float64 { return float64(m.written) / float64(m.shards) }

// write fills one epoch hot and gives how many events it has.
func (m *simulation) write(t testing.TB, epoch retention.Epoch) int {
	t.Helper()
	ctx := context.Background()
	deadline := epoch.Deadline(m.window)
	if _, err := m.ring.Mint(ctx, epoch, deadline, m.kek, func() uint32 { return m.written },
		func(key keyring.Public) error { return m.log.Open(ctx, key) }); err != nil {
		t.Fatalf("minting: %v", err)
	}
	writers := make([]*store.Writer, m.processes)
	for i := range writers {
		writers[i] = store.NewWriter(m.ring, m.log)
	}
	next := m.stream(t, epoch)
	waiting := make([][]record.Record, m.processes)
	events := 0
	flush := func() {
		for i, records := range waiting {
			if len(records) == 0 {
				continue
			}
			m.remember(records)
			slices.SortStableFunc(records, func(a, b record.Record) int { return int(a.ID.Partition - b.ID.Partition) })
			sealed, err := writers[i].Seal(ctx, []store.Batch{{Epoch: epoch, Deadline: deadline, Records: records}})
			if err == nil {
				err = writers[i].Append(ctx, sealed)
			}
			if err != nil {
				t.Fatalf("writing: %v", err)
			}
			events += len(records)
			waiting[i] = nil
		}
	}
	const linger = 1000 // ms
	for until := epoch.Start + linger; ; {
		process, r := next()
		if r.Time >= until {
			flush()
			for until <= r.Time {
				until += linger
			}
		}
		if r.Time >= epoch.Start+epoch.Length {
			return events
		}
		waiting[process] = append(waiting[process], r)
	}
}

// maxSamples are enough addresses to look up.
const maxSamples = 10_000

// remember keeps addresses of events, any of them as likely as any other (Vitter's algorithm R).
func (m *simulation) remember(records []record.Record) {
	for i := range records {
		ip := records[i].Address.Reveal()
		if !ip.Is4() {
			continue
		}
		m.heard++
		if len(m.samples) < maxSamples {
			m.samples = append(m.samples, ip)
		} else if at := m.draw.IntN(m.heard); at < maxSamples {
			m.samples[at] = ip
		}
	}
}

// stream is what the written shards see of the service in an epoch.
func (m *simulation) stream(t testing.TB, epoch retention.Epoch) func() (process int, r record.Record) {
	t.Helper()
	config := workload.DefaultConfig()
	config.Seed = uint64(m.produced)
	config.Start, config.Rate, config.IDs = flatHour, m.rate*m.share(), m.ids
	config.Accounts = max(int(config.Rate*accountsPerRate), 100)
	generator, err := workload.New(config)
	if err != nil {
		t.Fatal(err)
	}
	m.produced++
	shift := epoch.Start - flatHour.UnixMilli()
	between := 1/m.share() - 1 // offsets from one event of these shards to the next
	return func() (int, record.Record) {
		e := generator.Next().Event
		process := m.draw.IntN(m.processes)
		own := m.draw.IntN(len(m.offsets[process]))
		m.offsets[process][own] += 1 + int64(m.draw.ExpFloat64()*between)
		r := record.Record{
			ID:   record.ID{Topic: [16]byte{1}, Partition: int32(own*m.processes + process), Offset: m.offsets[process][own]},
			Time: e.Time + shift, Address: e.Address, Ports: e.Ports,
			Account: e.Account, Event: e.Kind, Server: e.Server,
		}
		if e.Since > 0 {
			r.Since = e.Since + shift
		}
		if m.sessions {
			r.Session = e.Session
		}
		return process, r
	}
}

// compact brings an epoch into the cold tier.
func (m *simulation) compact(t testing.TB, epoch retention.Epoch) {
	t.Helper()
	c := store.NewCompactor(m.reader)
	units, _, err := c.Units(context.Background(), epoch)
	if err != nil {
		t.Fatalf("listing what to compact: %v", err)
	}
	for _, u := range units {
		if _, err := c.Compact(context.Background(), u); err != nil {
			t.Fatalf("compacting: %v", err)
		}
	}
}

// ago is the epoch so many before the one that was current at the beginning.
func (m *simulation) ago(epochs int) retention.Epoch {
	return m.policy.EpochAt(m.now.Add(-time.Duration(epochs) * m.epoch))
}

// measureTier writes and compacts one epoch.
func measureTier(t testing.TB, s *servers, of service) capacity.Tier {
	t.Helper()
	m := simulate(t, s, of)
	epoch := m.ago(1)
	tier := capacity.Tier{
		Rate: of.rate, Epoch: of.epoch.Seconds(), IDs: of.ids, Sessions: of.sessions, Processes: of.processes,
		Shards: m.shards, Sampled: m.written,
	}
	empty, _ := s.figures(t)
	network := s.network(t)
	tier.Events = m.write(t, epoch)
	n := float64(tier.Events)
	hot, cpu := s.figures(t)
	tier.Hot = float64(hot-empty) / n
	tier.HotNetwork = (s.network(t) - network) / n
	tier.Keyring = keyMemory(t, s.keysClient)

	network = s.network(t)
	own := ownCPU()
	m.compact(t, epoch)
	tier.CompactMicros = float64((ownCPU() - own).Microseconds()) / n
	cold, cpuAfter := s.figures(t)
	tier.Cold = float64(cold-empty) / n
	tier.CompactNetwork = (s.network(t) - network) / n
	tier.RedisMicros = float64((cpuAfter - cpu).Microseconds()) / n
	return tier
}

// keyMemory is what all keys of a server take.
func keyMemory(t testing.TB, client *redis.Client) float64 {
	t.Helper()
	sum := int64(0)
	for _, name := range client.Keys(t.Context(), "*").Val() {
		bytes, err := client.MemoryUsage(t.Context(), name, 0).Result()
		if err != nil {
			t.Fatalf("asking for a key's memory: %v", err)
		}
		sum += bytes
	}
	return float64(sum)
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // fails only for bad arguments
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
