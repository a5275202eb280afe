package workload

import (
	"math"
	"math/rand/v2"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// maxSessions bounds memory (a session takes 72 bytes). With more wanted,
// sessions show signs of life more often than Config.Alive says.
const maxSessions = 1 << 20

// session is one connection that is under way.
type session struct {
	id      string
	since   int64 // Unix milliseconds
	address address.Address
	ports   record.Ports
	account uint32
	left    int32 // "alive" events before it ends
	rtt     float32
	network network
	server  uint8
	program uint8
}

// queue holds the sessions in the order in which they are next heard of. Each
// event takes the first one, and puts it back at the end: so the time between
// two signs of life is the queue's length over the rate, for all of them, and
// neither a heap nor a timer is needed.
type queue struct {
	ring        []session
	first, size int
}

func newQueue(capacity int) queue { return queue{ring: make([]session, capacity)} }

func (q *queue) full() bool { return q.size == len(q.ring) }

// place gives the place behind the last session, to be filled in.
func (q *queue) place() *session {
	i := q.first + q.size
	if i >= len(q.ring) {
		i -= len(q.ring)
	}
	q.size++
	return &q.ring[i]
}

// take removes the first session. The pointer is good until the ring comes
// round, which the next place may do.
func (q *queue) take() *session {
	s := &q.ring[q.first]
	q.size--
	if q.first++; q.first == len(q.ring) {
		q.first = 0
	}
	return s
}

// beginShare is the probability that an event begins a session: steep around
// the wanted number, so that the sessions follow the day, and never 0, so that
// some begin even while most of them end.
func (g *Generator) beginShare(load float64) float64 {
	switch {
	case g.sessions.full():
		return 0
	case g.sessions.size == 0:
		return 1
	}
	lack := g.wanted * load / float64(g.sessions.size)
	return g.renewal * lack * lack * lack * lack
}

// prefill puts the sessions in the queue that began before the first message,
// a sign of life every alive seconds.
func (g *Generator) prefill(alive float64) {
	for range int(g.wanted * g.day.load(g.now-g.midnight)) {
		s := g.sessions.place()
		g.enter(s, g.now)
		s.since -= int64(g.random.ExpFloat64() * g.life * alive * 1e3)
	}
}

// enter draws a session: who, from where, to which server, for how long.
func (g *Generator) enter(s *session, at int64) {
	account := g.accounts.draw()
	n := g.networks.draw(g.random)
	s.id = g.ids.next()
	s.since = at / 1e6
	s.account = account
	s.left = int32(math.Round(g.random.ExpFloat64() * g.life))
	s.network = n
	s.server = drawServer(g.random)
	s.program = uint8(g.random.Uint32N(uint32(len(programs))))
	s.rtt = float32(math.Round(networkRTT[n]*math.Exp(0.6*g.random.NormFloat64())*64) / 64)
	s.address, s.ports = g.networks.attach(n, account, at-g.midnight, g.random)
	if n == lineIPv4 && servers[s.server].portless {
		s.ports = record.Ports{}
	}
}

// begin makes the event that starts a session, or fails to.
func (g *Generator) begin(at int64) {
	s := g.sessions.place()
	g.enter(s, at)
	e := &g.event
	e.Kind = "connect"
	switch chance := g.random.Uint32N(1000); {
	case chance < 30: // a mistyped password
		e.Kind, e.Outcome = "auth_fail", "bad_password"
	case chance < 45:
		e.Outcome = connectFailures[chance%uint32(len(connectFailures))]
	case chance < 50:
		e.Kind = "register"
	}
	g.describe(s)
	e.Since = 0 // it is the beginning
	if e.Outcome != "ok" || e.Kind == "register" {
		e.Session = ""
		g.sessions.size-- // no session came of it
	}
}

// proceed makes the next event of the session whose turn it is.
func (g *Generator) proceed(at int64) {
	s := g.sessions.take()
	e := &g.event
	if s.left <= 0 {
		e.Kind = "disconnect"
		if chance := g.random.Uint32N(100); chance < 8 {
			e.Outcome = disconnectFailures[chance%uint32(len(disconnectFailures))]
		}
		g.describe(s)
		return
	}
	s.left--
	e.Kind = "alive"
	if s.network == mobileIPv4 && g.random.Uint32()&7 == 0 {
		s.address, s.ports = g.networks.attach(mobileIPv4, s.account, at-g.midnight, g.random)
	}
	g.describe(s)
	moved := g.sessions.place()
	if moved != s {
		*moved = *s
	}
}

// describe fills in what every event of a session says.
func (g *Generator) describe(s *session) {
	e := &g.event
	e.Since = s.since
	e.Address, e.Ports = s.address, s.ports
	e.Account = g.accounts.id(s.account)
	e.Session = s.id
	e.Server = servers[s.server].name
	e.Client = programs[s.program].client
	e.Transport = programs[s.program].transport
	e.RTT = jitter(float64(s.rtt), g.random)
	if e.Outcome == "" {
		e.Outcome = "ok"
	}
}

// jitter varies a round-trip time by an eighth and rounds it to tenths of a
// millisecond, which is what a server measures. (Doubling is exact, so a
// processor that fuses it with the addition gets the same bits.)
func jitter(ms float64, random *rand.Rand) float64 {
	return math.Round(ms*float64(7+2*random.Float64())*1.25) / 10
}

// sessionIDs cuts ids from blocks of text, so that an id needs no allocation
// of its own and yet never changes under who keeps it.
type sessionIDs struct {
	random *rand.Rand
	block  string
}

const (
	sessionIDLen = 12
	base32       = "abcdefghijklmnopqrstuvwxyz234567"
)

func (s *sessionIDs) next() string {
	if len(s.block) < sessionIDLen {
		s.refill()
	}
	id := s.block[:sessionIDLen]
	s.block = s.block[sessionIDLen:]
	return id
}

func (s *sessionIDs) refill() {
	var block [sessionIDLen * 512]byte
	for i := 0; i < len(block); i += sessionIDLen {
		spell(block[i:i+sessionIDLen], s.random.Uint64())
	}
	s.block = string(block[:])
}

// spell writes the lowest bits of n, five a letter.
func spell(dst []byte, n uint64) {
	for i := range dst {
		dst[i] = base32[n&31]
		n >>= 5
	}
}
