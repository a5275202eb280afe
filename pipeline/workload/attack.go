package workload

import "math/rand/v2"

// attacker tries passwords on one account after the other, from a few
// addresses of one /24, in bursts: a quarter of each eighth of a day.
type attacker struct {
	share  float64 // of the events during a burst
	period int64   // nanoseconds from burst to burst
	hosts  [4]uint32
	next   uint64 // account to try
	count  uint64
}

const (
	burstsPerDay = 8
	burstLength  = 0.25 // of a period
	luckyTries   = 500  // one in so many succeeds
)

func newAttacker(c Config, random *rand.Rand) attacker {
	a := attacker{
		share:  min(c.Attack/burstLength, 1),
		period: int64(c.Day) / burstsPerDay,
		count:  uint64(c.Accounts),
		next:   random.Uint64(),
	}
	for i := range a.hosts {
		a.hosts[i] = attackNet + uint32(10+48*i) + random.Uint32N(40)
	}
	return a
}

// strikes reports whether the message at this instant, nanoseconds since a midnight, is the attacker's.
func (a *attacker) strikes(at int64, random *rand.Rand) bool {
	inBurst := float64(at%a.period) < burstLength*float64(a.period)
	return inBurst && random.Float64() < a.share
}

// attack makes the event of one try.
func (g *Generator) attack() {
	a, e := &g.attacker, &g.event
	a.next++
	e.Kind, e.Outcome = "auth_fail", "bad_password"
	if g.random.Uint32N(luckyTries) == 0 {
		e.Kind, e.Outcome = "auth_ok", "ok"
	}
	e.Account = g.accounts.id(uint32(a.next % a.count))
	e.Address = ipv4(a.hosts[g.random.Uint32()&3])
	e.Ports = port(g.random)
	e.Server = servers[g.random.Uint32N(uint32(len(servers)))].name
	e.Transport, e.Client = "tls", "cli/3.2"
	e.RTT = jitter(140, g.random)
}
