package retention

import (
	"strings"
	"testing"
	"time"
)

type fields map[string]string

func (f fields) Field(name string) string { return f[name] }

func TestEpochsCoverTheTimeLineOnce(t *testing.T) {
	t.Parallel()
	for _, p := range []Policy{
		{Name: "a", Window: time.Hour},
		{Name: "b", Window: 24 * time.Hour, Epoch: 7 * time.Second},
		{Name: "c", Window: time.Second},
	} {
		for _, ms := range []int64{-86_400_001, -1, 0, 1, 999, 1000, 1_763_775_000_123} {
			at := time.UnixMilli(ms)
			e := p.EpochAt(at)
			if at.Before(e.StartTime()) || !at.Before(e.EndTime()) || e.Start%e.Length != 0 {
				t.Errorf("%v is not in its epoch %v", at, e)
			}
			// No event lives longer than the window after its own time; each lives at least window − epoch.
			life := e.Deadline(p.Window).Sub(at)
			if life > p.Window || life <= p.Window-p.EpochLength() {
				t.Errorf("policy %s: an event of %v lives %v", p.Name, at, life)
			}
			back, err := ParseEpoch(e.String())
			if err != nil || back != e {
				t.Errorf("%v reads back as %v, %v", e, back, err)
			}
		}
	}
}

func TestLiveEpochs(t *testing.T) {
	t.Parallel()
	p := Policy{Name: "p", Window: 60 * time.Second, Epoch: 10 * time.Second}
	for offset := range 20 {
		now := time.UnixMilli(1_763_775_000_000 + int64(offset)*777)
		live := p.Live(now)
		for i, e := range live {
			if e.StartTime().After(now) || !e.Deadline(p.Window).After(now) {
				t.Fatalf("at %v epoch %v does not live", now, e)
			}
			if i > 0 && e.Start != live[i-1].Start+e.Length {
				t.Fatalf("a hole between %v and %v", live[i-1], e)
			}
		}
		if len(live) != 6 || live[5] != p.EpochAt(now) {
			t.Fatalf("at %v %d epochs live", now, len(live))
		}
	}
}

func TestNextDeadline(t *testing.T) {
	t.Parallel()
	ps := Policies{{Name: "a", Window: time.Minute, Epoch: 7 * time.Second}, {Name: "b", Window: 10 * time.Second, Epoch: 10 * time.Second}}
	now := time.UnixMilli(1_763_775_000_123)
	for range 100 {
		first := now.Add(time.Hour)
		for i := range ps {
			for _, e := range ps[i].Live(now) {
				if deadline := e.Deadline(ps[i].Window); deadline.Before(first) {
					first = deadline
				}
			}
		}
		next := ps.NextDeadline(now)
		if !next.Equal(first) || !next.After(now) {
			t.Fatalf("after %v: %v, want %v", now, next, first)
		}
		now = next
	}
}

func TestDefaultEpochLength(t *testing.T) {
	t.Parallel()
	for window, want := range map[time.Duration]time.Duration{
		24 * time.Hour: 15 * time.Minute, time.Hour: 37 * time.Second, time.Minute: time.Second, time.Second: time.Second,
	} {
		p := Policy{Name: "p", Window: window}
		if got := p.EpochLength(); got != want {
			t.Errorf("window %v: epochs of %v, want %v", window, got, want)
		}
	}
}

func TestFirstPolicyThatMatchesWins(t *testing.T) {
	t.Parallel()
	policies := Policies{
		{Name: "vpn", Window: time.Hour, Match: map[string][]string{"server": {"vpn-*", "gw"}, "event": {"connect"}}},
		{Name: "failures", Window: time.Hour, Match: map[string][]string{"event": {"auth_fail"}}},
	}
	for want, event := range map[string]fields{
		"vpn":      {"server": "vpn-3", "event": "connect"},
		"failures": {"server": "vpn-3", "event": "auth_fail"},
		"":         {"server": "web", "event": "connect"},
	} {
		got := ""
		if p := policies.For(event); p != nil {
			got = p.Name
		}
		if got != want {
			t.Errorf("%v gets policy %q, want %q", event, got, want)
		}
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	t.Parallel()
	good := Policy{Name: "p", Window: time.Hour}
	if err := (Policies{good}).Validate(); err != nil {
		t.Fatal(err)
	}
	for says, spoil := range map[string]func(p *Policy){
		"policy name":            func(p *Policy) { p.Name = "P/1" },
		"window 1.5s":            func(p *Policy) { p.Window = 1500 * time.Millisecond },
		"longer than the most":   func(p *Policy) { p.Window = MaxWindow + time.Second },
		"epoch 100ms":            func(p *Policy) { p.Epoch = 100 * time.Millisecond },
		"longer than the window": func(p *Policy) { p.Epoch = 2 * time.Hour },
		"more than 10000":        func(p *Policy) { p.Window, p.Epoch = 3*time.Hour, time.Second },
		`match on "ip"`:          func(p *Policy) { p.Match = map[string][]string{"ip": {"*"}} },
		"syntax error":           func(p *Policy) { p.Match = map[string][]string{"event": {"["}} },
		`keep "rtt_ms"`:          func(p *Policy) { p.Keep = []string{"rtt_ms"} },
	} {
		p := good
		spoil(&p)
		if err := (Policies{p}).Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
	if err := (Policies{good, good}).Validate(); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("two policies of one name: %v", err)
	}
	if err := (Policies{}).Validate(); err == nil {
		t.Error("no policy at all was accepted")
	}
}

func TestParseEpochRefusals(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "p", "p/1", "p/1+", "/0+1", "p/0+0", "p/0+-1", "p/5+10", "P/0+1", "p/x+1", "p/0+x"} {
		if e, err := ParseEpoch(s); err == nil {
			t.Errorf("%q is read as %v", s, e)
		}
	}
}

func FuzzParseEpoch(f *testing.F) {
	f.Add("default/1763775000000+900000")
	f.Add("p/-1000+1000")
	f.Fuzz(func(t *testing.T, s string) {
		e, err := ParseEpoch(s)
		if err != nil {
			return
		}
		if back, err := ParseEpoch(e.String()); err != nil || back != e {
			t.Fatalf("%v reads back as %v, %v", e, back, err)
		}
	})
}
