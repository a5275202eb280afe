package workload

import (
	"maps"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"mayfly/pipeline/event"
)

// reserved are the ranges that belong to nobody.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("2001:db8::/32"),
}

func TestEveryAddressIsNobodys(t *testing.T) {
	t.Parallel()
	for _, accounts := range []int{1, 63, 20_000, 3_000_000} {
		c := testConfig()
		c.Accounts = accounts
		g := generator(t, c)
		for range 30_000 {
			m := g.Next()
			if m.Event == nil {
				continue
			}
			ip := m.Event.Address.Reveal()
			if !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(ip) }) {
				t.Fatalf("%v may be somebody's", ip)
			}
		}
	}
}

// The account at the edge of each network still has an address inside it.
func TestNetworksHoldTheMostAccounts(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Accounts = 10_000_000
	n := newNetworks(c)
	g := generator(t, testConfig())
	for kind, within := range map[network]netip.Prefix{
		lineIPv4:   netip.MustParsePrefix("192.0.0.0/5"),
		homeIPv6:   reserved[5],
		cgnatIPv4:  netip.MustParsePrefix("100.64.0.0/11"),
		mobileIPv4: netip.MustParsePrefix("100.96.0.0/11"),
	} {
		for account := uint32(0); account < 10_000_000; account += 997 {
			a, _ := n.attach(kind, account, 0, g.random)
			if !within.Contains(a.Reveal()) {
				t.Fatalf("network %d: %v is outside", kind, a.Reveal())
			}
		}
	}
}

// traffic is what was counted over a stretch of messages.
type traffic struct {
	messages, malformed, bytes int
	kinds                      map[string]int
	ipv6, carrier, blocks      int
	attacks                    int
	events                     int
	accounts                   map[string]int
	perCarrier, perLine        map[netip.Addr]map[string]bool
}

func count(g *Generator, until time.Time) traffic {
	c := traffic{
		kinds: map[string]int{}, accounts: map[string]int{},
		perCarrier: map[netip.Addr]map[string]bool{}, perLine: map[netip.Addr]map[string]bool{},
	}
	for m := g.Next(); m.At.Before(until); m = g.Next() {
		c.messages++
		c.bytes += len(m.Value)
		if m.Event == nil {
			c.malformed++
			continue
		}
		c.event(m.Event)
	}
	return c
}

func (c *traffic) event(e *event.Event) {
	ip := e.Address.Reveal()
	c.events++
	c.kinds[e.Kind]++
	if reserved[2].Contains(ip) {
		c.attacks++
		return
	}
	c.accounts[e.Account]++
	holders := c.perLine
	switch {
	case ip.Is6():
		c.ipv6++
		return
	case reserved[4].Contains(ip):
		c.carrier++
		holders = c.perCarrier
		if e.Ports.Last-e.Ports.First == portsPerBlock-1 {
			c.blocks++
		}
	}
	if holders[ip] == nil {
		holders[ip] = map[string]bool{}
	}
	holders[ip][e.Account] = true
}

// perAddress is the mean number of accounts of an address, each address
// counted once.
func perAddress(holders map[netip.Addr]map[string]bool) float64 {
	sum := 0
	for _, accounts := range holders {
		sum += len(accounts)
	}
	return float64(sum) / float64(len(holders))
}

// The reference workload has these proportions; README and benchmarks quote them.
func TestProportionsOfTheReferenceWorkload(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Rate, c.Story = 5000, ""
	n := count(generator(t, c), start.Add(c.Day))
	users := float64(n.events - n.attacks)
	busiest := slices.Max(slices.Collect(maps.Values(n.accounts)))
	for _, p := range []struct {
		what           string
		got, want, tol float64
	}{
		{"share of IPv6", float64(n.ipv6) / users, 0.35, 0.01},
		{"share behind carrier-grade NAT", float64(n.carrier) / users, 0.40, 0.01},
		{"of it with a port block", float64(n.blocks) / float64(n.carrier), 1, 0},
		{"share of attacks", float64(n.attacks) / float64(n.events), 0.03, 0.003},
		{"share of malformed messages", float64(n.malformed) / float64(n.messages), 0.002, 0.0005},
		{"share of connects", float64(n.kinds["connect"]) / float64(n.events), 0.091, 0.01},
		{"share of alives", float64(n.kinds["alive"]) / float64(n.events), 0.781, 0.02},
		{"share of disconnects", float64(n.kinds["disconnect"]) / float64(n.events), 0.091, 0.01},
		{"accounts per carrier address", perAddress(n.perCarrier), 3.3, 0.3},
		{"accounts per line address", perAddress(n.perLine), 1.2, 0.1},
		{"share of the busiest account", float64(busiest) / users, 0.011, 0.003},
		{"mean size in bytes", float64(n.bytes) / float64(n.messages), 266, 5},
	} {
		t.Logf("%s: %.4f", p.what, p.got)
		if math.Abs(p.got-p.want) > p.tol {
			t.Errorf("%s: %.4f, not %.4f ± %.4f", p.what, p.got, p.want, p.tol)
		}
	}
}

// One address, one port, one time: one account. Else a look-up by address and
// port could not tell subscribers of a carrier apart.
func TestPortBlocksTellAccountsApart(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Rate, c.Accounts = 5000, 630
	g := generator(t, c)
	type seat struct {
		ip   netip.Addr
		port uint16
	}
	holder := map[seat]string{}
	shared := map[netip.Addr]map[string]bool{}
	for range 200_000 {
		m := g.Next()
		if m.Event == nil || !reserved[4].Contains(m.Event.Address.Reveal()) {
			continue
		}
		ip, account := m.Event.Address.Reveal(), m.Event.Account
		at := seat{ip, m.Event.Ports.First}
		if other := holder[at]; other != "" && other != account {
			t.Fatalf("%s and %s have one port block", other, account)
		}
		holder[at] = account
		if shared[ip] == nil {
			shared[ip] = map[string]bool{}
		}
		shared[ip][account] = true
	}
	most := 0
	for _, accounts := range shared {
		most = max(most, len(accounts))
	}
	if most < 60 {
		t.Errorf("no carrier address has more than %d accounts", most)
	}
}

// life is what was seen of one session.
type life struct {
	first, last int64
	since       int64
	account     string
	places      map[netip.Addr]bool
	events      int
	over        bool
}

func TestSessionsHoldTogether(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Story, c.Attack, c.Day, c.Alive = "", 0, 24*time.Hour, 5*time.Second
	g := generator(t, c)
	lives := map[string]*life{}
	for range 200_000 {
		m := g.Next()
		if m.Event == nil || m.Event.Session == "" {
			continue
		}
		follow(t, lives, m.Event)
	}
	roaming, gaps, spans := 0, 0, int64(0)
	for _, l := range lives {
		if len(l.places) > 1 {
			roaming++
		}
		gaps += l.events - 1
		spans += l.last - l.first
	}
	if share := float64(roaming) / float64(len(lives)); share < 0.05 || share > 0.15 {
		t.Errorf("%.3f of the sessions change their address", share)
	}
	if mean := float64(spans) / float64(gaps); mean < 4900 || mean > 5200 {
		t.Errorf("a session shows signs of life every %.0f ms, not 5000", mean)
	}
}

// Sessions are more in the evening and fewer at night, so that the time between
// two signs of life of one stays what it is.
func TestSessionsFollowTheDay(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Rate, c.Story = 5000, ""
	g := generator(t, c)
	most := 1.0 // by how much they miss what is wanted, either way
	for m := g.Next(); m.At.Before(start.Add(c.Day)); m = g.Next() {
		ratio := float64(g.sessions.size) / (g.wanted * g.day.load(m.At.UnixNano()))
		most = max(most, ratio, 1/ratio)
	}
	if most > 1.2 {
		t.Errorf("sessions miss their number by a factor of %.2f", most)
	}
}

func follow(t *testing.T, lives map[string]*life, e *event.Event) {
	t.Helper()
	l, known := lives[e.Session]
	switch {
	case !known:
		since := e.Since
		if e.Kind == "connect" {
			since = e.Time
		}
		l = &life{first: e.Time, since: since, account: e.Account, places: map[netip.Addr]bool{}}
		lives[e.Session] = l
	case e.Kind == "connect":
		t.Fatal("a session began twice")
	case l.over:
		t.Fatalf("%s after the end of a session", e.Kind)
	case e.Since != l.since:
		t.Fatalf("a session began at %d, and at %d", l.since, e.Since)
	case e.Account != l.account:
		t.Fatal("a session changed hands")
	}
	l.last, l.over = e.Time, e.Kind == "disconnect"
	l.places[e.Address.Reveal()] = true
	l.events++
}

// An attack is a burst of failures over many accounts from a few addresses of one /24.
func TestAttackComesInBursts(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Rate = 5000
	g := generator(t, c)
	hosts, victims := map[netip.Addr]bool{}, map[string]bool{}
	kinds := map[string]int{}
	period := int64(c.Day) / burstsPerDay
	for m := g.Next(); m.At.Before(start.Add(c.Day)); m = g.Next() {
		if m.Event == nil || !reserved[2].Contains(m.Event.Address.Reveal()) {
			continue
		}
		if phase := float64(m.At.UnixNano()%period) / float64(period); phase >= burstLength {
			t.Fatalf("an attack at %.2f of the period", phase)
		}
		hosts[m.Event.Address.Reveal()] = true
		victims[m.Event.Account] = true
		kinds[m.Event.Kind]++
	}
	if len(hosts) < 2 || len(hosts) > 4 {
		t.Errorf("%d attacking addresses", len(hosts))
	}
	if len(victims) < 5000 {
		t.Errorf("only %d accounts were tried", len(victims))
	}
	if lucky := kinds["auth_ok"]; lucky == 0 || lucky > kinds["auth_fail"]/100 {
		t.Errorf("outcomes of the attack: %v", kinds)
	}
}

func TestPrivacyAddressesRotateWithinTheirHousehold(t *testing.T) {
	t.Parallel()
	g := generator(t, testConfig())
	day := int64(time.Minute)
	morning, _ := g.networks.attach(homeIPv6, 5, 0, g.random)
	again, _ := g.networks.attach(homeIPv6, 5, day/8, g.random)
	evening, _ := g.networks.attach(homeIPv6, 5, day-1, g.random)
	if morning != again || morning == evening {
		t.Error("a privacy address must last a quarter of a day, and no longer")
	}
	if p, _ := morning.Reveal().Prefix(64); !p.Contains(evening.Reveal()) {
		t.Error("the household's prefix changed")
	}
}

func TestAccountIDsAreDistinct(t *testing.T) {
	t.Parallel()
	for style, length := range map[string]int{"short8": 8, "uuid": 36, "name": 0} {
		c := testConfig()
		c.IDs = style
		g := generator(t, c)
		seen := map[string]bool{}
		for i := range uint32(c.Accounts) {
			id := g.accounts.id(i)
			if seen[id] || id == "" || length > 0 && len(id) != length {
				t.Fatalf("%s: id %q", style, id)
			}
			seen[id] = true
		}
	}
}
