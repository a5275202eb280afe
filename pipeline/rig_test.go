package pipeline

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"mayfly/pipeline/kafkain"
	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// rig is an ingest between a log in this process and a store in this process.
// It is made inside a synctest bubble, whose clock it lives by.
type rig struct {
	*Ingest
	log      *log
	memory   *store.Memory
	faults   *faults
	node     *keyring.MemoryNode
	ring     *keyring.Keyring
	reader   *store.Reader
	observed *observer.ObservedLogs
	policy   retention.Policy

	mint   func()
	cancel context.CancelFunc
	ended  chan error
}

func newRig(t *testing.T, l *log, change func(*Config)) *rig {
	t.Helper()
	r := &rig{log: l, memory: store.NewMemory(), node: keyring.NewMemoryNode("a")}
	r.policy = retention.Policy{
		Name: "web", Window: 10 * time.Minute, Epoch: time.Minute, Match: map[string][]string{"server": {"web*"}},
	}
	r.faults = &faults{Store: r.memory, health: store.Health{Identity: "first"}}
	var err error
	if r.ring, err = keyring.New(r.node); err != nil {
		t.Fatal(err)
	}
	kek, err := keyring.NewMemoryKEK(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r.mint = func() {
		for _, epoch := range r.policy.Live(time.Now()) {
			_, _ = r.ring.Mint(context.Background(), epoch, epoch.Deadline(r.policy.Window), kek, func() uint32 { return 2 },
				func(key keyring.Public) error { return r.memory.Open(context.Background(), key) })
		}
	}
	r.reader = store.NewReader(retention.Policies{r.policy}, keyring.NewOpener(r.ring, kek, zap.NewNop()), r.memory)
	core, observed := observer.New(zapcore.DebugLevel)
	r.observed = observed
	config := DefaultConfig()
	if change != nil {
		change(&config)
	}
	r.Ingest, err = New(config, Dependencies{
		Policies: retention.Policies{r.policy}, Writer: store.NewWriter(r.ring, r.faults), Store: r.faults,
		Log: zap.New(core), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// start begins to ingest; what the test does not stop ends with it.
func (r *rig) start(t *testing.T) {
	t.Helper()
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	ended := make(chan error, 1)
	r.ended = ended
	go func() {
		ended <- r.Run(ctx, r.log)
		close(ended)
	}()
	t.Cleanup(func() {
		r.cancel()
		for range ended { // until it has ended
		}
	})
}

// ingesting is a rig that runs, with a warden.
func ingesting(t *testing.T, l *log) *rig {
	t.Helper()
	r := newRig(t, l, nil)
	r.warden(t)
	r.start(t)
	return r
}

// stop ends the ingest. Whatever happened before, no memory may be left accounted for.
func (r *rig) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		t.Errorf("ingest ended with %v", err)
	}
	if !r.Ingest.memory.TryAcquire(r.config.Memory) {
		t.Error("memory of events that no longer wait is still taken")
	} else {
		r.Ingest.memory.Release(r.config.Memory)
	}
	if waiting := testutil.ToFloat64(r.metrics.waiting); waiting != 0 {
		t.Errorf("%v bytes wait after the end", waiting)
	}
	for _, epoch := range r.policy.Live(time.Now()) {
		if r.writer.Holding(epoch) {
			t.Errorf("the frame key of epoch %v is still in memory after the end", epoch)
		}
	}
}

// warden mints keys once a second until the test ends.
func (r *rig) warden(t *testing.T) {
	r.mint()
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
				r.mint()
			}
		}
	}()
}

// found lists the records that a look-up of everything gives, by partition and offset.
func (r *rig) found(t *testing.T) []string {
	t.Helper()
	answer, err := r.reader.Find(t.Context(), store.Query{Prefix: netip.MustParsePrefix("198.51.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	found := make([]string, 0, len(answer.Records))
	for _, record := range answer.Records {
		found = append(found, fmt.Sprint(record.ID.Partition, "/", record.ID.Offset))
	}
	slices.Sort(found)
	return found
}

func (r *rig) count(result string) int { return int(testutil.ToFloat64(r.metrics.events[result])) }

// faults is a store in which everything can go wrong.
type faults struct {
	store.Store
	mu     sync.Mutex // guards all below
	append func(ctx context.Context, do func() error) error
	health store.Health
	slow   time.Duration // how long a check takes
}

func (f *faults) set(change func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faults) Append(ctx context.Context, deadline time.Time, frames []seal.Frame, manifest seal.Frame) error {
	f.mu.Lock()
	through := f.append
	f.mu.Unlock()
	do := func() error { return f.Store.Append(ctx, deadline, frames, manifest) }
	if through == nil {
		return do()
	}
	return through(ctx, do)
}

func (f *faults) Check(context.Context) (store.Health, error) {
	f.mu.Lock()
	health, slow := f.health, f.slow
	f.mu.Unlock()
	time.Sleep(slow)
	return health, nil
}

// log is a Source: partitions in this process, and a consumer group of one.
type log struct {
	batch      int // records handed over at once
	appendTime bool

	mu        sync.Mutex // guards all below
	records   map[kafkain.Partition][]kafkain.Record
	committed map[kafkain.Partition]int64
	commits   []time.Time
	rewinds   int
	handled   int   // records that Handle has returned for
	refusal   error // of commits
	deaf      bool  // answers to commits are lost
	hidden    int64 // offsets from this one on can't be read; 0: all can
	grown     chan struct{}
}

func newLog(batch int) *log {
	return &log{
		batch: batch, grown: make(chan struct{}),
		records: map[kafkain.Partition][]kafkain.Record{}, committed: map[kafkain.Partition]int64{},
	}
}

func partition(n int32) kafkain.Partition {
	return kafkain.Partition{Topic: "connections", ID: [16]byte{7}, Number: n}
}

// write adds messages to a partition, stamped now.
func (l *log) write(n int32, values ...[]byte) {
	for _, value := range values {
		l.writeAt(n, time.Now(), value)
	}
}

func (l *log) writeAt(n int32, stamp time.Time, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := partition(n)
	l.records[p] = append(l.records[p], kafkain.Record{Offset: int64(len(l.records[p])), Stamp: stamp.UnixMilli(), Value: value})
	close(l.grown)
	l.grown = make(chan struct{})
}

// hide keeps the offsets from one on from being read, until hide(0).
func (l *log) hide(from int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hidden = from
	close(l.grown)
	l.grown = make(chan struct{})
}

// Run implements Source: generations, one after the other, each from the committed offsets on.
func (l *log) Run(ctx context.Context, h kafkain.Handler) error {
	for ctx.Err() == nil {
		life, end := context.WithCancel(ctx)
		g := &group{log: l, end: end, start: map[kafkain.Partition]int64{}}
		l.mu.Lock()
		for p := range l.records {
			g.start[p] = l.committed[p]
		}
		l.mu.Unlock()
		if err := h.Assigned(life, g); err != nil {
			return err
		}
		var readers sync.WaitGroup
		for p, offset := range g.start {
			readers.Go(func() { l.read(life, h, p, offset) })
		}
		readers.Wait()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
		_ = h.Revoked(drain) // kafkain logs it and goes on
		cancel()
		end()
	}
	return nil
}

func (l *log) read(ctx context.Context, h kafkain.Handler, p kafkain.Partition, offset int64) {
	for ctx.Err() == nil {
		l.mu.Lock()
		grown := l.grown
		end := int64(len(l.records[p]))
		next := min(offset+int64(l.batch), end)
		cut := offset > end
		if l.hidden > 0 && !cut {
			next = max(offset, min(next, l.hidden))
		}
		var records []kafkain.Record
		if !cut {
			records = slices.Clone(l.records[p][offset:next])
		}
		l.mu.Unlock()
		if cut { // as kafkain does where the log was cut short
			records, next = nil, 0
		}
		if next == offset {
			select {
			case <-ctx.Done():
			case <-grown:
			}
			continue
		}
		if err := h.Handle(ctx, &kafkain.Batch{Partition: p, AppendTime: l.appendTime, Records: records, Next: next}); err != nil {
			panic(err)
		}
		l.mu.Lock()
		l.handled += len(records)
		l.mu.Unlock()
		offset = next
	}
}

// look gives what the log knows, under its lock.
func look[T any](l *log, get func() T) T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return get()
}

// committedTo is the offset up to which a partition is committed.
func (l *log) committedTo(number int32) int64 {
	return look(l, func() int64 { return l.committed[partition(number)] })
}

// group is a generation of the log's only member.
type group struct {
	log   *log
	start map[kafkain.Partition]int64
	end   context.CancelFunc
}

func (g *group) Partitions() map[kafkain.Partition]int64 {
	start := map[kafkain.Partition]int64{}
	for p, offset := range g.start {
		start[p] = offset
	}
	return start
}

func (g *group) Commit(offsets map[kafkain.Partition]int64) error {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	if g.log.refusal != nil {
		return g.log.refusal
	}
	for p, offset := range offsets {
		g.log.committed[p] = offset
	}
	g.log.commits = append(g.log.commits, time.Now())
	if g.log.deaf {
		return errAway
	}
	return nil
}

func (g *group) Rewind() {
	g.log.mu.Lock()
	g.log.rewinds++
	g.log.mu.Unlock()
	g.end()
}

// message is the event number i, of now.
func message(i int) []byte { return messageAt(i, time.Now()) }

func messageAt(i int, at time.Time) []byte {
	return fmt.Appendf(nil, `{"time":%d,"account":"account-%d","ip":"198.51.%d.%d","port":%d,"server":"web-1"}`,
		at.UnixMilli(), i%50, i/256%256, i%256, 1024+i%60000)
}

func messages(from, n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = message(from + i)
	}
	return list
}

// expectFound expects the first n records of partition 0, each once, and no others.
func (r *rig) expectFound(t *testing.T, n int) {
	t.Helper()
	if diff := cmp.Diff(everything(n), r.found(t)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

func (r *rig) expectCommitted(t *testing.T, want int64) {
	t.Helper()
	if to := r.log.committedTo(0); to != want {
		t.Errorf("committed to %d, want %d", to, want)
	}
}

// everything is what found gives when partition 0 has n records.
func everything(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(0, "/", i)
	}
	slices.Sort(list)
	return list
}
