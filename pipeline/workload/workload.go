// Package workload generates connection events as a service sees them: a day
// with an evening peak, few busy accounts and many quiet ones, sessions that
// last, carrier-grade NAT, roaming phones, IPv6 households, a password-guessing
// attacker. It is the reference workload of benchmarks and the traffic of the
// demo; cmd and tests may import it, nothing that runs in production does.
//
// Two invariants. The messages are a function of the Config alone: there is no
// clock, no map order and no randomness but one seeded source, and what is
// computed in floating point is rounded before it counts, so that processors
// which differ in the last bit agree. And every address is from a range that is
// nobody's: documentation (RFC 5737, RFC 3849), benchmarking (RFC 2544) or the
// shared space of carriers (RFC 6598).
package workload

import (
	"fmt"
	"math/rand/v2"
	"time"

	"mayfly/pipeline/event"
)

// Message is one Kafka message. Value and Event belong to the generator and
// are overwritten by its next Next.
type Message struct {
	At    time.Time
	Value []byte
	Event *event.Event // what Value says; nil when it is no event
}

// Generator is the stream of messages of one Config. It is not safe for
// concurrent use: several producers each have their own, with their own seed.
type Generator struct {
	random *rand.Rand

	now      int64   // Unix nanoseconds of the next message, but for the story's
	midnight int64   // Unix nanoseconds from which the days count
	gap      float64 // mean nanoseconds between two messages at a load of 1
	day      day
	story    story

	accounts  accounts
	sessions  queue
	wanted    float64 // sessions at a load of 1
	renewal   float64 // share of events that begin a session, when there are as many as wanted
	ids       sessionIDs
	networks  networks
	attacker  attacker
	life      float64
	malformed float64

	event event.Event
	value []byte
}

// New checks the Config and sets up the sessions that are under way at its Start.
func New(c Config) (*Generator, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(c.Seed, 0x6d6179666c79)) // the stream is the word "mayfly"
	people, err := newAccounts(c.IDs, c.Accounts, random)
	if err != nil {
		return nil, fmt.Errorf("naming accounts: %w", err)
	}
	renewal := 1 / (c.SessionLife + 2)
	heard := c.Rate * (1 - c.Attack) * (1 - renewal) // events a second of sessions under way
	g := &Generator{
		random:    random,
		now:       c.Start.UnixNano(),
		midnight:  c.midnight(),
		gap:       1e9 / c.Rate,
		day:       newDay(c.Day),
		story:     newStory(c),
		accounts:  people,
		wanted:    min(max(heard*c.alive(), 8), maxSessions/maxLoad),
		renewal:   renewal,
		ids:       sessionIDs{random: random},
		networks:  newNetworks(c),
		attacker:  newAttacker(c, random),
		life:      c.SessionLife,
		malformed: c.Malformed,
		value:     make([]byte, 0, 512),
	}
	g.sessions = newQueue(int(g.wanted*maxLoad) + 1)
	g.prefill(c.alive())
	return g, nil
}

// Next gives the next message; times never go back.
func (g *Generator) Next() Message {
	g.event = event.Event{RTT: -1}
	if g.story.due <= g.now {
		at := g.story.due
		g.story.tell(&g.event)
		return g.message(at)
	}
	at := g.now
	load := g.day.load(at - g.midnight)
	g.now += int64(g.random.ExpFloat64() * g.gap / load)

	switch chance := g.random.Float64(); {
	case chance < g.malformed:
		return g.noise(at)
	case g.attacker.strikes(at-g.midnight, g.random):
		g.attack()
	case g.random.Float64() < g.beginShare(load):
		g.begin(at)
	default:
		g.proceed(at)
	}
	return g.message(at)
}

// message encodes the event at hand.
func (g *Generator) message(at int64) Message {
	g.event.Time = at / int64(time.Millisecond)
	g.value = event.Append(g.value[:0], &g.event)
	return Message{At: time.Unix(0, at), Value: g.value, Event: &g.event}
}
