package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/pipeline/event"
	"mayfly/retention/record"
)

var start = time.Date(2026, 11, 3, 18, 0, 0, 0, time.UTC)

// testConfig is the demo's traffic: a day of a minute, malformed messages, a story.
func testConfig() Config {
	c := DefaultConfig()
	c.Seed, c.Start, c.Day = 7, start, time.Minute
	c.Malformed, c.Story = 0.002, "ada"
	return c
}

func generator(t testing.TB, c Config) *Generator {
	t.Helper()
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// digest of the first n messages: their times and their bytes.
func digest(g *Generator, n int) string {
	h := sha256.New()
	for range n {
		m := g.Next()
		fmt.Fprintf(h, "%d %s\n", m.At.UnixNano(), m.Value)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// The bytes are part of the contract: figures measured with a seed can be
// compared only while they stay. A change here makes old measurements void.
func TestBytesArePinned(t *testing.T) {
	t.Parallel()
	for ids, want := range map[string]string{
		"short8": "4114c81be882d202df69a73d25ff70a7cd7127e959f992e0c6ce218cb2a3a4bd",
		"uuid":   "89bc59e3bfe78d39650fd82954d76da5ad5bdcce004dc86e777e898753dc6de6",
		"name":   "6f2570f20f4f397365fd6fcb0e7870c33bdcfc51b0ccb617b8bc889ac4bc935f",
	} {
		c := testConfig()
		c.IDs = ids
		if got := digest(generator(t, c), 10_000); got != want {
			t.Errorf("%s: the first 10,000 messages have digest %s, not %s", ids, got, want)
		}
	}
}

func TestSeedAndStartDecide(t *testing.T) {
	t.Parallel()
	base := digest(generator(t, testConfig()), 1000)
	if again := digest(generator(t, testConfig()), 1000); again != base {
		t.Error("the same Config gave other messages")
	}
	for name, change := range map[string]func(*Config){
		"seed":  func(c *Config) { c.Seed++ },
		"start": func(c *Config) { c.Start = c.Start.Add(time.Second) },
	} {
		c := testConfig()
		change(&c)
		if digest(generator(t, c), 1000) == base {
			t.Errorf("another %s gave the same messages", name)
		}
	}
}

// What the generator says an event is, a consumer reads; what it says is none,
// a consumer refuses.
func TestConsumerAgrees(t *testing.T) {
	t.Parallel()
	decoder, err := event.NewDecoder(event.FieldMap{})
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.Malformed = 0.05
	g := generator(t, c)
	refused := map[event.Refusal]int{}
	for range 20_000 {
		m := g.Next()
		var got event.Event
		refusal := decoder.Decode(m.Value, &got)
		if m.Event == nil {
			refused[refusal]++
			continue
		}
		if refusal != event.Accepted {
			t.Fatalf("refused (%v): %s", refusal, m.Value)
		}
		if got != *m.Event {
			t.Fatalf("%s was not read back as it was meant", m.Value)
		}
		if m.At.UnixMilli() != got.Time {
			t.Fatalf("message of %v says %d", m.At, got.Time)
		}
	}
	if refused[event.Accepted] > 0 {
		t.Errorf("%d malformed messages were accepted", refused[event.Accepted])
	}
	if len(refused) < 7 {
		t.Errorf("malformed messages met %d kinds of refusal only: %v", len(refused), refused)
	}
}

func TestTimesNeverGoBack(t *testing.T) {
	t.Parallel()
	g := generator(t, testConfig())
	last := start
	for range 20_000 {
		m := g.Next()
		if m.At.Before(last) {
			t.Fatalf("%v came after %v", m.At, last)
		}
		last = m.At
	}
}

// Over a day the mean rate is Config.Rate, and each hour has its share of it.
func TestDayHasItsShape(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Story, c.Rate = "", 8000
	g := generator(t, c)
	midnight := time.Unix(0, start.UnixNano()/int64(c.Day)*int64(c.Day))
	var hours [24]float64
	total := 0.0
	for m := g.Next(); m.At.Before(start.Add(c.Day)); m = g.Next() {
		hours[int(24*m.At.Sub(midnight)/c.Day)%24]++
		total++
	}
	if want := c.Rate * c.Day.Seconds(); math.Abs(total/want-1) > 0.02 {
		t.Errorf("a day had %.0f messages, not %.0f", total, want)
	}
	d := newDay(24 * time.Hour)
	for h, n := range hours {
		want := d.load(int64(h)*int64(time.Hour)+int64(30*time.Minute)) / 24
		if got := n / total; math.Abs(got/want-1) > 0.1 {
			t.Errorf("hour %d has %.3f of the day, not %.3f", h, got, want)
		}
	}
	if hours[19] < 5*hours[4] {
		t.Error("there is no evening peak")
	}
}

// Who connects, from where and how often, depends on the hour, and on no other clock.
func TestTheHourIsCountedFromMidnight(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Midnight = start.Add(-c.Day / 3)
	later := c
	later.Start, later.Midnight = c.Start.Add(c.Day/2), c.Midnight.Add(c.Day/2)
	a, b := generator(t, c), generator(t, later)
	for i := range 10_000 {
		m, n := a.Next(), b.Next()
		if !m.At.Add(c.Day/2).Equal(n.At) || (m.Event == nil) != (n.Event == nil) {
			t.Fatalf("message %d: one comes at %v, the other at %v", i, m.At.Sub(c.Start), n.At.Sub(later.Start))
		}
		if m.Event != nil && (m.Event.Account != n.Event.Account || m.Event.Address != n.Event.Address || m.Event.Kind != n.Event.Kind) {
			t.Fatalf("message %d differs", i)
		}
	}
}

func TestLoadStaysBelowItsBound(t *testing.T) {
	t.Parallel()
	sum, d := 0.0, newDay(time.Hour)
	for _, load := range d.curve {
		if load <= 0 || load > maxLoad {
			t.Errorf("load %v", load)
		}
		sum += load
	}
	if math.Abs(sum/daySteps-1) > 1e-4 {
		t.Errorf("mean load %v", sum/daySteps)
	}
}

// Whatever the traffic around it, the story is the same, and starts at once.
func TestStoryKeepsItsPace(t *testing.T) {
	t.Parallel()
	slow, fast := testConfig(), testConfig()
	slow.Rate, slow.Seed = 1, 99
	fast.Rate = 5000
	a, b := tell(t, slow, 20), tell(t, fast, 20)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the story depends on the traffic (-slow +fast):\n%s", diff)
	}
	want := []string{
		"0s connect home", "1s alive home", "2s alive home",
		"3s alive phone", "4s alive phone", "5s alive phone",
		"6s alive home", "7s disconnect home",
		"8s connect home",
	}
	if diff := cmp.Diff(want, a[:len(want)]); diff != "" {
		t.Errorf("the story (-want +got):\n%s", diff)
	}
}

func tell(t *testing.T, c Config, n int) []string {
	t.Helper()
	var told []string
	for g := generator(t, c); len(told) < n; {
		m := g.Next()
		if m.Event == nil || m.Event.Account != c.Story {
			continue
		}
		place := "home"
		if m.Event.Address.Reveal().Is4() {
			place = "phone"
			if m.Event.Ports != (record.Ports{First: 64_528, Last: 65_535, Known: true}) {
				t.Errorf("on the phone the story has ports %v", m.Event.Ports)
			}
		}
		told = append(told, fmt.Sprintf("%v %s %s", m.At.Sub(c.Start), m.Event.Kind, place))
	}
	return told
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no start":          func(c *Config) { c.Start = time.Time{} },
		"no rate":           func(c *Config) { c.Rate = 0 },
		"rate not a number": func(c *Config) { c.Rate = math.NaN() },
		"no day":            func(c *Config) { c.Day = 0 },
		"no accounts":       func(c *Config) { c.Accounts = 0 },
		"too many accounts": func(c *Config) { c.Accounts = 1 << 30 },
		"unknown ids":       func(c *Config) { c.IDs = "email" },
		"negative alive":    func(c *Config) { c.Alive = -1 },
		"life":              func(c *Config) { c.SessionLife = math.Inf(1) },
		"share":             func(c *Config) { c.Attack = 1.1 },
		"share NaN":         func(c *Config) { c.IPv6 = math.NaN() },
		"shares":            func(c *Config) { c.IPv6, c.CGNAT = 0.7, 0.7 },
		"story":             func(c *Config) { c.StoryEvery = 0 },
	} {
		c := testConfig()
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Every Config that is accepted gives messages that a consumer can judge.
func FuzzConfig(f *testing.F) {
	f.Add(uint64(1), 1000.0, int64(time.Minute), 2000, 0.35, 0.25, 0.15, 0.03, 0.002, 8.0)
	f.Add(uint64(2), 0.1, int64(24*time.Hour), 1, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0)
	f.Add(uint64(3), 1e9, int64(time.Second), 63, 1.0, 0.0, 0.0, 0.0, 1.0, 1e6)
	f.Fuzz(func(t *testing.T, seed uint64, rate float64, day int64, accounts int, ipv6, cgnat, mobile, attack, malformed, life float64) {
		c := Config{
			Seed: seed, Start: start, Rate: rate, Day: time.Duration(day),
			Accounts: accounts % 10_001, IDs: "name", SessionLife: life,
			IPv6: ipv6, CGNAT: cgnat, Mobile: mobile, Attack: attack, Malformed: malformed,
			Story: "ada", StoryEvery: time.Second,
		}
		if c.Rate*c.alive() > 10_000 { // keep the fuzzer's memory small
			c.Alive = time.Duration(10_000 / c.Rate * 1e9)
		}
		g, err := New(c)
		if err != nil {
			t.Skip()
		}
		decoder, err := event.NewDecoder(event.FieldMap{})
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			m := g.Next()
			var e event.Event
			if accepted := decoder.Decode(m.Value, &e) == event.Accepted; accepted != (m.Event != nil) {
				t.Fatalf("accepted: %v for %s", accepted, m.Value)
			}
		}
	})
}
