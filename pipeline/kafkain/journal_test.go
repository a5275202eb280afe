package kafkain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mayfly/pipeline/kafkain/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// patience is how long a test waits for something that a broker does in seconds.
const patience = 60 * time.Second

// journal is a Handler that keeps a copy of all it was given.
type journal struct {
	commitEach bool // commit after each batch
	commitEnd  bool // commit what was read when a generation ends
	backwards  bool // batches may go back
	hold       func(ctx context.Context, b *Batch)

	mutex   sync.Mutex // guards all below
	changed chan struct{}
	view
}

// view is what a journal holds at one moment.
type view struct {
	generation  Generation
	generations int
	revoked     int
	starts      []map[Partition]int64
	next        map[Partition]int64
	records     map[Partition][]seenRecord
	gaps        map[Partition]int64
	appendTime  map[bool]int
	errors      []error
}

func newJournal() *journal {
	return &journal{changed: make(chan struct{}), view: view{
		records: map[Partition][]seenRecord{}, gaps: map[Partition]int64{}, appendTime: map[bool]int{}}}
}

// look copies what the journal holds now.
func (j *journal) look() view {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	v := j.view
	v.starts, v.errors = slices.Clone(v.starts), slices.Clone(v.errors)
	v.next, v.records, v.gaps, v.appendTime = maps.Clone(v.next), maps.Clone(v.records), maps.Clone(v.gaps), maps.Clone(v.appendTime)
	return v
}

func (j *journal) update(change func()) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	change()
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *journal) Assigned(_ context.Context, g Generation) error {
	j.update(func() {
		j.generation = g
		j.generations++
		j.starts = append(j.starts, g.Partitions())
		j.next = g.Partitions()
	})
	return nil
}

func (j *journal) Handle(ctx context.Context, b *Batch) error {
	if j.hold != nil {
		j.hold(ctx, b)
	}
	j.update(func() {
		if j.next[b.Partition] > b.Next && !j.backwards {
			j.errors = append(j.errors, fmt.Errorf("batch goes back from %d to %d", j.next[b.Partition], b.Next))
		}
		j.next[b.Partition] = b.Next
		j.gaps[b.Partition] += b.Gap
		j.records[b.Partition] = append(j.records[b.Partition], seen(b).Records...)
		if len(b.Records) > 0 {
			j.appendTime[b.AppendTime]++
		}
		if j.commitEach {
			j.commit()
		}
	})
	return nil
}

func (j *journal) Revoked(ctx context.Context) error {
	j.update(func() {
		j.revoked++
		if ctx.Err() != nil {
			j.errors = append(j.errors, errors.New("no time was left to store and commit"))
		}
		if j.commitEnd {
			j.commit()
		}
	})
	return nil
}

// commit is called with the lock held.
func (j *journal) commit() {
	if err := j.generation.Commit(maps.Clone(j.next)); err != nil {
		j.errors = append(j.errors, err)
	}
}

// values are all values read so far, sorted.
func (v view) values() []string {
	var all []string
	for _, records := range v.records {
		for _, r := range records {
			all = append(all, r.Value)
		}
	}
	slices.Sort(all)
	return all
}

// distinct is how many different values were read.
func (v view) distinct() int { return len(slices.Compact(v.values())) }

// await waits until the condition is true and gives the view that it was true of.
func (j *journal) await(t testing.TB, what string, condition func(view) bool) view {
	t.Helper()
	deadline := time.After(patience)
	for {
		j.mutex.Lock()
		changed := j.changed
		j.mutex.Unlock()
		if v := j.look(); condition(v) {
			return v
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// rig is a consumer under test.
type rig struct {
	*Consumer
	*journal
	logs     *observer.ObservedLogs
	registry *prometheus.Registry
	stop     func() error // cancels Run and gives its result
}

// setup changes a rig before it runs.
type setup func(*rig)

// run starts a consumer of a topic. It is stopped with the test.
func run(t testing.TB, cluster *kafkatest.Cluster, group string, topics []string, setups ...setup) *rig {
	t.Helper()
	r := prepare(t, cluster.Brokers(), group, topics)
	for _, change := range setups {
		change(r)
	}
	r.start(t)
	return r
}

func prepare(t testing.TB, brokers []string, group string, topics []string) *rig {
	t.Helper()
	config := DefaultConfig()
	config.Brokers, config.Topics, config.Group, config.FetchWait = brokers, topics, group, 100*time.Millisecond
	core, logs := observer.New(zap.DebugLevel)
	registry := prometheus.NewRegistry()
	consumer, err := New(config, Dependencies{Log: zap.New(core), Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	consumer.timing = timing{
		session: 2 * time.Second, heartbeat: 200 * time.Millisecond, drain: time.Second, watch: 200 * time.Millisecond,
		remind: 30 * time.Second, backoff: 20 * time.Millisecond, backoffMax: 200 * time.Millisecond,
	}
	return &rig{Consumer: consumer, journal: newJournal(), logs: logs, registry: registry}
}

func (r *rig) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, r.journal) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if t.Failed() {
			for _, entry := range r.logs.All() {
				t.Log(entry.Time.Format("05.000"), entry.Message, entry.ContextMap())
			}
		}
		for _, err := range r.look().errors {
			t.Error(err)
		}
	})
}

// metric sums a metric over its labels.
func (r *rig) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() == name {
			for _, metric := range family.GetMetric() {
				sum += metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// numbered are records with consecutive values, spread over partitions.
func numbered(prefix string, count, partitions int) []*kgo.Record {
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{Partition: int32(i % partitions), Value: fmt.Appendf(nil, "%s %06d", prefix, i)})
	}
	return records
}
