package kafkain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"mayfly/pipeline/kafkain/kafkatest"
)

func TestCommittedOffsetsSurvive(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "survive", 3, nil)
	cluster.Produce(t, "survive", kgo.NoCompression(), numbered("first", 300, 3)...)
	first := run(t, cluster, "survive", []string{"survive"}, func(r *rig) { r.commitEnd = true })
	first.await(t, "the first records", func(v view) bool { return len(v.values()) == 300 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	if v := first.look(); v.revoked != v.generations {
		t.Errorf("%d generations, %d revoked", v.generations, v.revoked)
	}

	cluster.Produce(t, "survive", kgo.NoCompression(), numbered("second", 300, 3)...)
	second := run(t, cluster, "survive", []string{"survive"})
	second.await(t, "the second records", func(v view) bool { return len(v.values()) >= 300 })
	if got := second.look().values(); len(got) != 300 || got[0] != "second 000000" {
		t.Errorf("read %d records from %q on", len(got), got[0])
	}
}

func TestLeavesTheGroupAtOnce(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "leaving", 1, nil)
	// With a session this long only a member that says goodbye makes way in time.
	long := func(r *rig) { r.timing.session = 90 * time.Second }
	first := run(t, cluster, "leaving", []string{"leaving"}, long)
	first.await(t, "the first member", func(v view) bool { return v.generations > 0 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	second := run(t, cluster, "leaving", []string{"leaving"}, long)
	second.await(t, "the second member", func(v view) bool { return v.generations > 0 })
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the successor waited %v", took)
	}
}

func TestRewindReadsAgainFromTheCommit(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "rewind", 1, nil)
	cluster.Produce(t, "rewind", kgo.NoCompression(), numbered("record", 100, 1)...)
	r := run(t, cluster, "rewind", []string{"rewind"})
	r.await(t, "all records", func(v view) bool { return len(v.values()) == 100 })
	generation := r.look().generation
	for partition := range generation.Partitions() {
		if err := generation.Commit(map[Partition]int64{partition: 40}); err != nil {
			t.Fatal(err)
		}
		// The broker knows names only: it would take another topic's offset for this one's.
		partition.ID[0] ^= 1
		if err := generation.Commit(map[Partition]int64{partition: 90}); err == nil {
			t.Error("an offset of another topic of the same name was committed")
		}
	}
	generation.Rewind()
	r.await(t, "the records from 40 on again", func(v view) bool { return len(v.values()) == 160 })
	v := r.look()
	if v.distinct() != 100 || v.generations != 2 || v.revoked != 1 {
		t.Errorf("%d distinct records in %d generations, %d revoked", v.distinct(), v.generations, v.revoked)
	}
	for _, start := range v.starts[1] {
		if start != 40 {
			t.Errorf("started again at %d, want 40", start)
		}
	}
	if err := generation.Commit(generation.Partitions()); !errors.Is(err, ErrGenerationEnded) {
		t.Errorf("a commit of the ended generation: %v", err)
	}
}

// plug is a network that a test can pull.
type plug struct {
	mutex  sync.Mutex // guards all
	pulled bool
	conns  []net.Conn
}

func (p *plug) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.pulled {
		return nil, errors.New("the plug is pulled")
	}
	p.conns = append(p.conns, conn)
	return conn, err
}

// pull does to the broker what the death of the process would: connections end, nobody leaves the group.
func (p *plug) pull() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.pulled = true
	for _, conn := range p.conns {
		if conn != nil {
			_ = conn.Close()
		}
	}
}

func TestNothingIsLostWhenAMemberDies(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "dying", 4, nil)
	cluster.Produce(t, "dying", kgo.NoCompression(), numbered("early", 2000, 4)...)
	var wire plug
	small := func(r *rig) { r.config.FetchBytes = 1 << 10 }
	victim := prepare(t, cluster.Brokers(), "dying", []string{"dying"})
	small(victim)
	victim.security.dial = wire.dial
	// It commits what it has read, until it dies in the middle of it all.
	victim.journal.hold = func(_ context.Context, b *Batch) {
		if v := victim.look(); v.next[b.Partition] > 0 && !wire.isPulled() {
			_ = v.generation.Commit(map[Partition]int64{b.Partition: v.next[b.Partition]})
		}
	}
	victim.start(t)
	victim.await(t, "some records", func(v view) bool { return len(v.values()) > 100 })
	survivor := run(t, cluster, "dying", []string{"dying"}, small)
	survivor.await(t, "a share of the partitions", func(v view) bool { return len(v.next) == 2 })
	victim.await(t, "its own share", func(v view) bool { return len(v.next) == 2 })
	wire.pull()
	cluster.Produce(t, "dying", kgo.NoCompression(), numbered("late", 2000, 4)...)
	survivor.await(t, "all partitions", func(v view) bool { return len(v.next) == 4 })

	whole := func() int {
		seen := map[string]bool{}
		for _, text := range append(survivor.look().values(), victim.look().values()...) {
			seen[text] = true
		}
		return len(seen)
	}
	survivor.await(t, "every record, read by the one or the other", func(v view) bool { return whole() == 4000 })
	if late := survivor.look().distinct(); late < 2000 {
		t.Errorf("the survivor read %d records", late)
	}
}

func (p *plug) isPulled() bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.pulled
}

// A member that has lost its partitions can't move the group's offsets back.
func TestLostMemberCannotCommit(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "fenced", 1, nil)
	cluster.Produce(t, "fenced", kgo.NoCompression(), numbered("record", 100, 1)...)
	// The first member reads, then is deaf to everything: its heartbeats stop, but its connection still works.
	first := prepare(t, cluster.Brokers(), "fenced", []string{"fenced"})
	first.timing.heartbeat = time.Hour
	first.start(t)
	first.await(t, "all records", func(v view) bool { return len(v.values()) == 100 })

	second := run(t, cluster, "fenced", []string{"fenced"})
	second.await(t, "all records", func(v view) bool { return len(v.values()) == 100 })
	if err := second.look().generation.Commit(map[Partition]int64{only(second.look().next): 100}); err != nil {
		t.Fatal(err)
	}
	if err := first.look().generation.Commit(map[Partition]int64{only(first.look().next): 10}); !errors.Is(err, ErrGenerationEnded) {
		t.Errorf("the lost member's commit: %v", err)
	}
	offsets, err := cluster.Admin(t).FetchOffsets(t.Context(), "fenced")
	if err != nil {
		t.Fatal(err)
	}
	if committed, _ := offsets.Lookup("fenced", 0); committed.At != 100 {
		t.Errorf("the group is at %d, want 100", committed.At)
	}
}

func only(offsets map[Partition]int64) Partition {
	for partition := range offsets {
		return partition
	}
	return Partition{}
}

type failingHandler struct {
	*journal
	assigned, handle error
}

func (h failingHandler) Assigned(ctx context.Context, g Generation) error {
	_ = h.journal.Assigned(ctx, g)
	return h.assigned
}

func (h failingHandler) Handle(context.Context, *Batch) error { return h.handle }

func TestHandlerErrorEndsRun(t *testing.T) {
	t.Parallel()
	cluster := kafkatest.Start(t)
	cluster.CreateTopic(t, "failing", 2, nil)
	cluster.Produce(t, "failing", kgo.NoCompression(), numbered("record", 10, 2)...)
	failure := errors.New("the handler gives up")
	for i, handler := range []failingHandler{{assigned: failure}, {handle: failure}} {
		handler.journal = newJournal()
		r := prepare(t, cluster.Brokers(), fmt.Sprint("failing ", i), []string{"failing"})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := r.Run(ctx, handler); !errors.Is(err, failure) {
			t.Errorf("Run: %v", err)
		}
		if diff := cmp.Diff([]int{1, 1}, []int{handler.generations, handler.revoked}); diff != "" {
			t.Error(diff)
		}
		if r.Ready() == nil {
			t.Error("ready after its end")
		}
		groups, err := cluster.Admin(t).DescribeGroups(t.Context(), r.config.Group)
		if err != nil {
			t.Fatal(err)
		}
		if members := len(groups[r.config.Group].Members); members != 0 {
			t.Errorf("the group still has %d members", members)
		}
	}
}
