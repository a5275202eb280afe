package canary

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/retention"
	"mayfly/retention/address"
	"mayfly/retention/canary/form"
	"mayfly/retention/record"
)

func testKey(t testing.TB, secret byte, picture string, ranges ...string) *Key {
	t.Helper()
	f, err := form.New(picture, ranges)
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(bytes.Repeat([]byte{secret}, 32), f)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (c Connection) row() *record.Record {
	return &record.Record{Account: c.Account, Address: c.Address, Ports: record.Ports{First: c.Port, Last: c.Port, Known: true}}
}

// The key alone tells a canary from a customer.
func TestOnlyTheKeyRecognises(t *testing.T) {
	t.Parallel()
	for _, picture := range []string{"user-%%%%%%%%%%", "############", "%%%%%%%%-%%%%-4%%%-8%%%-%%%%%%%%%%%%", strings.Repeat("@", 60)} {
		k := testKey(t, 1, picture, "192.0.2.0/24", "2001:db8::/64")
		other := testKey(t, 2, picture, "192.0.2.0/24", "2001:db8::/64")
		seen := map[string]bool{}
		for range 200 {
			c, err := k.Draw()
			if err != nil {
				t.Fatal(err)
			}
			if !k.Is(c.row()) || other.Is(c.row()) {
				t.Fatalf("%s: recognised %v by its key, %v by another", picture, k.Is(c.row()), other.Is(c.row()))
			}
			if len(c.Account) != len(picture) || c.Port < 1024 || !k.form.Contains(c.Address.Reveal()) {
				t.Fatalf("%s: an odd canary", picture)
			}
			seen[c.Account] = true
			for name, change := range map[string]func(*record.Record){
				"another port":     func(r *record.Record) { r.Ports.First ^= 1; r.Ports.Last ^= 1 },
				"a block of ports": func(r *record.Record) { r.Ports.Last = 65535; r.Ports.First = 1024 },
				"no port":          func(r *record.Record) { r.Ports = record.Ports{} },
				"another address":  func(r *record.Record) { r.Address, _ = address.From(r.Address.Reveal().Next()) },
				"another account":  func(r *record.Record) { r.Account += "0" },
			} {
				r := c.row()
				if change(r); k.Is(r) {
					t.Fatalf("%s: with %s it still passes for a canary", picture, name)
				}
			}
		}
		if len(seen) < 190 { // a million may come: two of 200 are the same now and then
			t.Errorf("%s: %d of 200 canaries differ", picture, len(seen))
		}
	}
}

func TestCanaryPrintsAsNothing(t *testing.T) {
	t.Parallel()
	c, err := testKey(t, 1, "user-%%%%%%%%%%", "192.0.2.0/24").Draw()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprint(Event{Connection: c})} {
		if strings.Contains(text, "user-") {
			t.Errorf("a canary prints as %s", strings.ReplaceAll(text, c.Account, "its account"))
		}
	}
}

// A tag that ordinary connections would hit by chance is refused.
func TestTooSmallATag(t *testing.T) {
	t.Parallel()
	f, err := form.New("u####", []string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewKey(make([]byte, 32), f); err == nil || !strings.Contains(err.Error(), "canary.account_format") {
		t.Errorf("got %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "canary.key")
	if err := GenerateKey(path); err != nil {
		t.Fatal(err)
	}
	if err := GenerateKey(path); err == nil {
		t.Error("a key was replaced")
	}
	c := configured
	c.KeyFile = path
	a, err := OpenKey(c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := OpenKey(c)
	if err != nil {
		t.Fatal(err)
	}
	if drawn, err := a.Draw(); err != nil || !b.Is(drawn.row()) {
		t.Errorf("the key reads back as another: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(c); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	_ = os.Chmod(path, 0o600)
	if err := os.WriteFile(path, []byte("mayfly-canary-v1 00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"damaged", "keygen --canary"} {
		if _, err := OpenKey(c); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
		_ = os.Remove(path)
	}
}

func TestSampleGetsItsPolicy(t *testing.T) {
	t.Parallel()
	policies := retention.Policies{
		{Name: "vpn", Match: map[string][]string{"server": {"vpn-*", "gw?"}, "event": {"connect", "alive"}}},
		{Name: "failures", Match: map[string][]string{"event": {"auth_*"}, "outcome": {"bad"}}},
		{Name: "mail", Match: map[string][]string{"topic": {"mail"}}},
		{Name: "rest"},
		{Name: "never"},
	}
	for i, want := range []bool{true, true, true, true, false} {
		topic, fields, ok := Sample(policies, i, []string{"web", "mail"})
		if ok != want {
			t.Errorf("policy %s: %v", policies[i].Name, ok)
			continue
		}
		if !ok {
			continue
		}
		event := sample{"topic": topic}
		for name, value := range fields {
			event[name] = value
		}
		if policies.For(event) != &policies[i] {
			t.Errorf("policy %s: %v in %s gets another", policies[i].Name, fields, topic)
		}
	}
}

func TestConfigNamesTheSetting(t *testing.T) {
	t.Parallel()
	if err := (DefaultConfig()).Validate(); err != nil {
		t.Fatal(err)
	}
	if err := configured.Validate(); err != nil {
		t.Fatal(err)
	}
	for says, spoil := range map[string]func(*Config){
		"canary.ranges":         func(c *Config) { c.Ranges = []string{"192.0.2.1/24"} },
		"canary.account_format": func(c *Config) { c.AccountFormat = "user" },
		"canary.key_file":       func(c *Config) { c.KeyFile = "" },
		"canary.every":          func(c *Config) { c.Every = 1 },
		"canary.grace":          func(c *Config) { c.Grace = 0 },
		"canary.peers":          func(c *Config) { c.Peers = []string{"desk:8080"} },
	} {
		c := configured
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

// BenchmarkIs is what the filter costs an ordinary record of an answer.
func BenchmarkIs(b *testing.B) {
	k := testKey(b, 1, "user-%%%%%%%%%%", "192.0.2.0/24")
	ip, _ := address.From(netip.MustParseAddr("198.51.100.7"))
	r := Connection{Account: "user-0123456789", Address: ip, Port: 4242}.row()
	for b.Loop() {
		if k.Is(r) {
			b.Fatal("no")
		}
	}
}
