package bench

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"mayfly/pipeline/workload"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

var (
	dayRows    = flag.Int("day-rows", 90_000, "rows of each cold epoch of the day that is looked up")
	dayHot     = flag.Int("day-hot", fullShard, "rows of its current epoch")
	dayLookUps = flag.Int("day-lookups", 200, "look-ups of the day without ingest")
)

// What the design asks of a look-up of one address over 24 h.
const (
	mostTouchedDay = 200_000.0 // records of cold epochs
	mostScanned    = 250_000.0 // records of the current one
)

// How many events the desk gives where nobody says otherwise, and the most that it reads.
const (
	dayLimit  = 10_000
	mostOfDay = 500_000
)

// day is 24 h of a policy of its own: 95 cold epochs, as the compactor makes them, and
// the current one, hot and full, in one shard each, written a second at a time. A look-up
// opens of a cold epoch its head, which grows with the blocks, and a block or two; of the
// current one all.
type day struct {
	from, to  time.Time
	reader    *store.Reader
	receipts  *receipts.Log
	addresses []netip.Addr // any event's as likely as any other's: an attacker's and a carrier's are the most
}

// lookUps is what looking up addresses over the day costs.
type lookUps struct {
	percentiles
	CPU       float64 `json:"cpu_seconds"` // of this process, each
	Found     int     // events, the most
	Cold, Hot int     // rows touched, the most
}

// growth is what one prefix costs.
type growth struct {
	Prefix       int     `json:"prefix_bits"`
	Found        int     `json:"found"`
	Seconds, CPU float64 // medians of five
}

func fillDay(t testing.TB, s *servers, cold, hot int) *day {
	t.Helper()
	p := retention.Policy{Name: "whole", Window: 25 * time.Hour, Epoch: 15 * time.Minute} // an hour more: none ends meanwhile
	ring, err := keyring.New(keyring.NewRedisNode("bench", s.keysClient))
	if err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	log := store.NewRedis(s.dataClient)
	epochs := p.Live(began)
	epochs = epochs[slices.Index(epochs, p.EpochAt(began))-95:][:96] // what Live has more is about to end, or to begin
	config := workload.DefaultConfig()
	config.Start, config.Rate, config.Accounts = epochs[0].StartTime(), float64(cold)/900, max(cold/15, 100)
	config.Midnight = config.Start.Add(-10 * time.Hour)
	generator, err := workload.New(config)
	if err != nil {
		t.Fatal(err)
	}
	opener := running(t.Context(), keyring.NewOpener(ring, kek, zap.NewNop()))
	draw := rand.New(rand.NewPCG(1, 2))
	d := &day{from: epochs[0].StartTime(), to: epochs[len(epochs)-1].EndTime().Add(-1), reader: store.NewReader(retention.Policies{p}, opener, log)}
	if d.receipts, err = receipts.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.receipts.Close() })
	compactor := store.NewCompactor(d.reader)
	for i, epoch := range epochs {
		deadline := epoch.Deadline(p.Window)
		if _, err := ring.Mint(t.Context(), epoch, deadline, kek, func() uint32 { return 1 },
			func(key keyring.Public) error { return log.Open(t.Context(), key) }); err != nil {
			t.Fatal(err)
		}
		rows, isHot := cold, i == len(epochs)-1
		if isHot {
			rows = hot
		}
		records := make([]record.Record, rows/partitions*partitions)
		for j := range records {
			e := generator.Next().Event
			records[j] = record.Record{
				ID:   record.ID{Topic: [16]byte{1}, Partition: int32(j % partitions), Offset: int64(i*max(cold, hot) + j/partitions)},
				Time: epoch.Start + int64(j)*epoch.Length/int64(len(records)), Address: e.Address, Ports: e.Ports,
				Account: e.Account, Event: e.Kind, Session: e.Session, Server: e.Server,
			}
		}
		for range drawnOfEach {
			d.addresses = append(d.addresses, records[draw.IntN(len(records))].Address.Reveal())
		}
		write(t, store.NewWriter(ring, log), store.Batch{Epoch: epoch, Deadline: deadline, Records: records})
		if !isHot {
			compactAll(t, compactor, epoch)
		}
	}
	draw.Shuffle(len(d.addresses), func(i, j int) { d.addresses[i], d.addresses[j] = d.addresses[j], d.addresses[i] })
	t.Cleanup(asDesk())
	return d
}

// asDesk has this process collect garbage as mayfly desk does, until it is undone, from a
// heap with nothing in it of what writes.
func asDesk() (undo func()) {
	const percent = 400 // as cmd/mayfly/process has it
	before := debug.SetGCPercent(percent)
	runtime.GC()
	return func() { debug.SetGCPercent(before) }
}

// drawnOfEach is how many addresses are drawn from the events of each epoch.
const drawnOfEach = 10

// write stores a batch in frames as ingest makes them.
func write(t testing.TB, writer *store.Writer, batch store.Batch) {
	t.Helper()
	for part := range slices.Chunk(batch.Records, perFlush) {
		slices.SortStableFunc(part, func(a, b record.Record) int { return cmp.Compare(a.ID.Partition, b.ID.Partition) })
		sealed, err := writer.Seal(t.Context(), []store.Batch{{Epoch: batch.Epoch, Deadline: batch.Deadline, Records: part}})
		if err == nil {
			err = writer.Append(t.Context(), sealed)
		}
		if err != nil {
			t.Fatalf("filling a day: %v", err)
		}
	}
}

func compactAll(t testing.TB, c *store.Compactor, epoch retention.Epoch) {
	t.Helper()
	units, _, err := c.Units(t.Context(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range units {
		if done, err := c.Compact(t.Context(), u); err != nil || done.Left > 0 {
			t.Fatalf("%d frames are left, %v", done.Left, err)
		}
	}
}

// find looks a prefix up, and has the receipt on the disk before it has the answer.
func (d *day) find(ctx context.Context, t testing.TB, p netip.Prefix, limit int) (store.Answer, time.Duration) {
	t.Helper()
	began := time.Now()
	answer, err := d.reader.Find(ctx, store.Query{Prefix: p.Masked(), From: d.from, To: d.to, Policies: []string{"whole"}, Limit: limit})
	if err == nil {
		_, err = d.receipts.Append(ctx, receipts.Lookup{
			Case: "BENCH-1", Reason: "test", Subject: fmt.Sprintf("prefix /%d", p.Bits()),
			Events: len(answer.Records), Complete: answer.Complete, From: began.Add(-24 * time.Hour), To: began,
		})
	}
	if err != nil || !answer.Complete || len(answer.Records) == 0 {
		t.Errorf("a look-up finds %d records, complete %v, %v", len(answer.Records), answer.Complete, err)
	}
	return answer, time.Since(began)
}

// lookUps asks for n addresses one after the other.
func (d *day) lookUps(t testing.TB, n int) lookUps {
	t.Helper()
	turn := make(chan time.Time, n)
	for range n {
		turn <- time.Time{}
	}
	close(turn)
	d.find(t.Context(), t, netip.PrefixFrom(d.addresses[0], d.addresses[0].BitLen()), dayLimit) // the keys are open then
	return d.ask(t.Context(), t, turn, nil)
}

// lookUp asks five times a second, until over.
func (d *day) lookUp(ctx context.Context, t testing.TB, over <-chan struct{}) lookUps {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	return d.ask(ctx, t, tick.C, over)
}

func (d *day) ask(ctx context.Context, t testing.TB, turn <-chan time.Time, over <-chan struct{}) lookUps {
	t.Helper()
	var l lookUps
	var took []time.Duration
	cpu := cpuTime()
	for i, more := 0, true; more && !t.Failed(); i++ {
		select {
		case <-over:
			more = false
			continue
		case _, more = <-turn:
			if !more {
				continue
			}
		}
		ip := d.addresses[i%len(d.addresses)]
		answer, elapsed := d.find(ctx, t, netip.PrefixFrom(ip, ip.BitLen()), dayLimit)
		took = append(took, elapsed)
		l.Found = max(l.Found, len(answer.Records))
		l.Cold, l.Hot = max(l.Cold, answer.Touched), max(l.Hot, answer.Scanned)
	}
	l.CPU = (cpuTime() - cpu).Seconds() / float64(max(len(took), 1))
	l.percentiles = percentilesOf(took)
	return l
}

// growth looks ever larger prefixes around one address up.
func (d *day) growth(t testing.TB) []growth {
	t.Helper()
	ip := d.addresses[slices.IndexFunc(d.addresses, netip.Addr.Is4)]
	var all []growth
	for _, bits := range []int{32, 24, 20, 16} {
		var seconds, cpu []float64
		g := growth{Prefix: bits}
		for range 5 {
			before := cpuTime()
			answer, took := d.find(t.Context(), t, netip.PrefixFrom(ip, bits), mostOfDay)
			g.Found = len(answer.Records)
			seconds, cpu = append(seconds, took.Seconds()), append(cpu, (cpuTime()-before).Seconds())
		}
		g.Seconds, g.CPU = median(seconds), median(cpu)
		all = append(all, g)
	}
	return all
}

func (l *lookUps) print(w io.Writer, name string) {
	fmt.Fprintf(w, "look-up over 24 h, %s: n %d, p50 %.1f ms, p99 %.1f, most %.1f; %.1f ms of CPU each; at most %d events found, %d rows touched cold, %d hot\n",
		name, l.N, l.P50*1e3, l.P99*1e3, l.Max*1e3, l.CPU*1e3, l.Found, l.Cold, l.Hot)
}

func printGrowth(w io.Writer, all []growth) {
	for _, g := range all {
		fmt.Fprintf(w, "prefix /%d: %d events, %.1f ms, %.1f ms of CPU\n", g.Prefix, g.Found, g.Seconds*1e3, g.CPU*1e3)
	}
}

// TestDayLookUp bounds what a look-up of an address over 24 h touches; it looks at no time.
func TestDayLookUp(t *testing.T) {
	t.Parallel()
	l := fillDay(t, startServers(t), 2_000, fullShard).lookUps(t, 95)
	if l.Cold > mostTouchedDay || l.Hot > mostScanned {
		t.Errorf("a look-up touches %d cold rows and %d hot ones, want at most %v and %v", l.Cold, l.Hot, mostTouchedDay, mostScanned)
	}
	if l.Cold < 95 || l.Hot != fullShard/partitions*partitions {
		t.Errorf("a look-up touches %d cold rows and %d hot ones: is the day there?", l.Cold, l.Hot)
	}
}

// BenchmarkDay is the same, larger and timed, whatever b.N is: run it with -benchtime 1x.
func BenchmarkDay(b *testing.B) {
	d := fillDay(b, startServers(b), *dayRows, *dayHot)
	l := d.lookUps(b, *dayLookUps)
	l.print(os.Stdout, "without ingest")
	printGrowth(os.Stdout, d.growth(b))
	b.ReportMetric(l.P50*1e3, "p50-ms")
	b.ReportMetric(l.P99*1e3, "p99-ms")
	b.ReportMetric(l.CPU*1e3, "cpu-ms")
}
