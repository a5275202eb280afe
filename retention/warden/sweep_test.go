package warden

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/receipts"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/sweep"
)

// sweeper makes one beside a warden that has an epoch in charge and one purged.
func sweeper(t *testing.T, data redis.UniversalClient, node *redis.Client) (s *Sweeper, living, purged retention.Epoch) {
	t.Helper()
	p := retention.Policy{Name: "p", Window: time.Hour, Epoch: time.Minute}
	living, purged = p.EpochAt(time.Now()), p.EpochAt(time.Now().Add(-2*p.Window))
	ring, err := keyring.New(keyring.NewRedisNode("node", node))
	if err != nil {
		t.Fatal(err)
	}
	w := &Warden{
		active: true, adopted: time.Now(), d: Dependencies{Policies: retention.Policies{p}, Keyring: ring},
		epochs: map[retention.Epoch]*Status{
			living: {Epoch: living, Deadline: living.Deadline(p.Window)},
			purged: {Epoch: purged, Deadline: purged.Deadline(p.Window), Purged: true},
		},
	}
	s, err = NewSweeper(DefaultConfig(), SweepDependencies{
		Warden: w, Data: data, Nodes: []*redis.Client{node}, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, living, purged
}

// What the sweep does to keys: left as they are, given an expiry, or gone.
func TestSweep(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	data, node := redistest.Start(t).Client(t), redistest.Start(t).Client(t)
	s, living, purged := sweeper(t, data, node)
	deadline := living.Deadline(time.Hour)
	chunk := func(e retention.Epoch, key string) string { return "mayfly:{" + e.String() + "/" + key + "/ip/0}/0" }
	removed := retention.Epoch{Policy: "removed", Start: living.Start - 600_000, Length: 60_000}
	fresh := retention.Epoch{Policy: "removed", Start: living.Start, Length: 60_000}
	marked := retention.Epoch{Policy: "marked", Start: removed.Start, Length: removed.Length}
	private := func(e retention.Epoch) string { return "mayfly:key:private:" + e.String() }
	const kept = time.Duration(0)
	type key struct {
		client *redis.Client
		name   string
		expiry time.Time // before; zero: none
		want   time.Time // after; zero: gone
	}
	later, sooner, forever := deadline.Add(time.Hour), deadline.Add(-time.Minute), time.UnixMilli(-1)
	keys := []key{
		{data, "mayfly:{" + living.String() + "}", deadline, deadline},
		{data, chunk(living, "in time"), sooner, sooner},
		{data, chunk(living, "persisted"), time.Time{}, deadline},
		{data, chunk(living, "late"), later, deadline},
		{data, chunk(purged, "that nobody remembers"), time.Time{}, time.Time{}},
		{data, chunk(purged, "of a restored backup"), later, time.Time{}},
		{data, chunk(removed, "no policy, no key"), later, later},
		{data, chunk(removed, "no policy, no key, no expiry"), time.Time{}, time.Time{}},
		{data, chunk(marked, "over by a node's mark"), later, time.Time{}},
		{data, chunk(fresh, "perhaps another warden's"), later, later},
		{data, "somebody's", time.Time{}, forever},
		{data, "mayfly:other", time.Time{}, forever},
		{data, "mayfly:{not an epoch}", time.Time{}, forever},
		{node, private(living), time.Time{}, deadline},
		{node, private(purged), later, time.Time{}},
		{node, "mayfly:key:public:" + living.String(), deadline, deadline},
		{node, "mayfly:key:mark:marked+60000", later, later},
		{node, "mayfly:key:of another kind", later, later},
		{node, "session:mayfly:key:private:" + living.String(), time.Time{}, forever},
	}
	for _, k := range keys {
		k.client.Set(ctx, k.name, marked.Start, kept)
		if !k.expiry.IsZero() {
			k.client.PExpireAt(ctx, k.name, k.expiry)
		}
	}
	s.sweep(ctx)
	for _, k := range keys {
		at := k.client.PExpireTime(ctx, k.name).Val()
		got := time.UnixMilli(at.Milliseconds())
		switch at {
		case -2:
			got = time.Time{}
		case -1:
			got = forever
		}
		if !got.Equal(k.want) {
			t.Errorf("%s expires at %v, want %v", k.name, got, k.want)
		}
	}
	counts := map[string]float64{"gauge": testutil.ToFloat64(s.without)}
	for _, finding := range []string{"without_expiry", "late", "dead", "unexplained"} {
		counts[finding] = testutil.ToFloat64(s.found.WithLabelValues(finding))
	}
	if diff := cmp.Diff(map[string]float64{"gauge": 4, "without_expiry": 4, "late": 3, "dead": 5, "unexplained": 3}, counts); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(s.Source().Look(ctx).Findings, func(f keyring.Finding) bool { return f.Condition == keysExpire && f.Verdict == "warn" }) {
		t.Error("the findings are not among what the guard is told")
	}
	s.sweep(ctx)
	if n := testutil.ToFloat64(s.without); n != 0 {
		t.Errorf("%v keys without expiry after they were mended", n)
	}
}

// Whether an epoch that no policy names has a key is not known: it is left alone.
func TestSweepSparesWhatMayHaveAKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	data := redistest.Start(t).Client(t)
	s, living, _ := sweeper(t, data, data)
	s.d.Warden.adopted = time.Now().Add(-time.Hour)
	name := "mayfly:{" + retention.Epoch{Policy: "removed", Start: living.Start - 600_000, Length: 60_000}.String() + "}"
	data.Set(ctx, name, "v", time.Hour)
	s.sweep(ctx)
	if data.Exists(ctx, name).Val() == 0 {
		t.Error("unlinked although the keyring did not answer")
	}
}

// remembering is a log that knows of epochs beside the policies.
type remembering struct {
	Receipts
	mark, keyed retention.Epoch
	removed     *receipts.Policy
}

func (r remembering) Marks() []retention.Epoch       { return []retention.Epoch{r.mark} }
func (r remembering) Had(epoch retention.Epoch) bool { return epoch == r.keyed }
func (r remembering) Latest() map[string]*receipts.Policy {
	return map[string]*receipts.Policy{r.removed.Name: r.removed}
}

// What the receipts know explains keys, or says that they are dead.
func TestSweepByTheReceipts(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	data := redistest.Start(t).Client(t)
	s, living, _ := sweeper(t, data, data)
	ago := func(policy string, d time.Duration) retention.Epoch {
		start := living.Start - d.Milliseconds()
		return retention.Epoch{Policy: policy, Start: start - start%60_000, Length: 60_000}
	}
	s.d.Warden.d.Receipts = remembering{
		mark: ago("marked", 10*time.Minute), keyed: ago("keyed", 10*time.Minute),
		removed: &receipts.Policy{Name: "removed", Window: time.Hour, Length: time.Minute},
	}
	forever := living.Deadline(retention.MaxWindow)
	for _, test := range []struct {
		epoch retention.Epoch
		gone  bool
	}{
		{ago("marked", 9*time.Minute), false},
		{ago("marked", 10*time.Minute), true},
		{ago("marked", 20*time.Minute), true},
		{ago("keyed", 10*time.Minute), false},
		{ago("removed", 50*time.Minute), false},
		{ago("removed", 70*time.Minute), true},
		{ago("strange", 70*time.Minute), false},
		{ago("strange", retention.MaxWindow+time.Hour), true},
	} {
		name := "mayfly:{" + test.epoch.String() + "}"
		data.Set(ctx, name, "v", 0)
		data.PExpireAt(ctx, name, forever)
		s.sweep(ctx)
		if gone := data.Exists(ctx, name).Val() == 0; gone != test.gone {
			t.Errorf("%v: gone is %v", test.epoch, gone)
		}
		data.FlushDB(ctx)
	}
	if n := testutil.ToFloat64(s.found.WithLabelValues("unexplained")); n != 3 {
		t.Errorf("%v keys unexplained, want 3", n)
	}
}

// Each primary of a Cluster.
func TestSweepOfACluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	_, cluster := redistest.StartCluster(t, 3, false)
	s, _, purged := sweeper(t, cluster, redistest.Start(t).Client(t))
	for shard := range 30 {
		cluster.Set(ctx, "mayfly:{"+purged.String()+"/00/ip/"+string(rune('a'+shard))+"}/0", "v", 0)
	}
	s.sweep(ctx)
	if n := testutil.ToFloat64(s.found.WithLabelValues("dead")); n != 30 {
		t.Errorf("%v of 30 dead chunks found", n)
	}
}

// What is over is over at once where that was verified here; else a purge has a minute.
func TestWhatTheSweepTakesForDead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, test := range map[string]struct {
		ago          time.Duration
		purged, seen bool
		want         bool
	}{
		"purged":                        {time.Second, true, false, true},
		"another warden's purge":        {time.Second, true, true, false},
		"being purged":                  {time.Second, false, false, false},
		"a purge that does not succeed": {2 * sweepGrace, false, false, true},
	} {
		e := retention.Epoch{Policy: "p", Start: 0, Length: 1000}
		w := &Warden{epochs: map[retention.Epoch]*Status{e: {Epoch: e, Deadline: now.Add(-test.ago), Purged: test.purged, seen: test.seen}}}
		if dead := w.explain(t.Context(), e, now).Dead; dead != test.want {
			t.Errorf("%s: dead %v", name, dead)
		}
	}
}

// An expiry that came nearer while the sweep was looking stays: none is ever extended.
func TestTheSweepExtendsNothing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	data := redistest.Start(t).Client(t)
	other := redis.NewClient(&redis.Options{Addr: data.Options().Addr})
	defer other.Close()
	by := time.Now().Add(time.Hour).Truncate(time.Second)
	other.Set(ctx, "k", "v", 0)
	data.AddHook(meanwhile(func() { other.PExpireAt(ctx, "k", by.Add(-time.Minute)) }))
	found, err := sweep.Server(ctx, data, "k", 1000, func(context.Context, string) sweep.Rule { return sweep.Rule{Ours: true, By: by} })
	if err != nil || found.WithoutExpiry != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	if at := other.PExpireTime(ctx, "k").Val(); at.Milliseconds() != by.Add(-time.Minute).UnixMilli() {
		t.Errorf("it expires %v after it had to", time.Duration(at.Milliseconds()-by.UnixMilli())*time.Millisecond)
	}
}

// meanwhile does something before each pipeline that changes an expiry.
type meanwhile func()

func (meanwhile) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (meanwhile) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (m meanwhile) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if slices.ContainsFunc(commands, func(c redis.Cmder) bool { return strings.EqualFold(c.Name(), "pexpireat") }) {
			m()
		}
		return next(ctx, commands)
	}
}

// deaf refuses every command before it is sent.
type deaf struct{ asked *bool }

func (deaf) DialHook(next redis.DialHook) redis.DialHook                               { return next }
func (d deaf) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook { return nil }
func (d deaf) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error {
		*d.asked = true
		return net.ErrClosed
	}
}

// A standby sweeps nothing: it asks no server.
func TestOnlyTheActiveWardenSweeps(t *testing.T) {
	t.Parallel()
	for _, active := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			asked := false
			data := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
			data.AddHook(deaf{&asked})
			defer data.Close()
			s, _, _ := sweeper(t, data, data)
			s.d.Warden.active = active
			ctx, cancel := context.WithTimeout(t.Context(), 3*sweepEvery)
			defer cancel()
			if err := s.Run(ctx); err != nil || asked != active {
				t.Errorf("active %v: asked %v, %v", active, asked, err)
			}
		})
	}
}
