// Package model is a small model of the guarantee, in three parts, whose steps an
// explorer (explore_test.go) interleaves in every order, with faults between any two. Steps
// bear the names that the code gives them. Nobody imports it.
//
//   - An epoch from its minting to its purge: two ingesters, two wardens with their logs,
//     two keyring nodes, the store's two kinds of Redis keys and a reader. The state is
//     in state_test.go, the steps in servers_test.go, ingest_test.go with claims_test.go,
//     keyring_test.go, warden_test.go and lookup_test.go.
//   - The wardens' lease and what each writes of the epoch's end: lease_test.go, standby_test.go.
//   - The cold tier: a unit of two compactors, with a late frame, a reader and the
//     purge: cold_test.go, compactor_test.go, coldreader_test.go.
//
// Invariants hold in every state that can be reached within the bounds:
//
//   - a look-up never misses an event whose offset is committed, inside its
//     window, and says that it is complete; nor gives an event twice;
//   - what the servers had for longer than the commit delay no failover loses, and what
//     one has lost is missing until it is stored again;
//   - nothing is readable past its deadline plus grace;
//   - after a purge's receipt no keyring node holds the epoch, and nothing is stored of it;
//   - a log says one thing about an epoch's end, and no key is left without a word;
//   - where nothing went wrong no look-up says that something is missing;
//   - ingest never waits for what can't come, nor seals what nobody can open.
//
// A flaw is a protection taken out (flaws_test.go). For each a test shows that the explorer
// finds what it protects from (scenarios_test.go), so that the invariants are known to bite.
//
// What is assumed: what was written longer ago than the commit delay survives a
// failover, which takes back the last writes of a server in their order; clocks are at most
// grace apart where a scenario does not say more; where a window was shortened, a purge that
// is due comes before the next tick, as does the restoring of marks; a standby looks once
// a tick. What is left out: several shards, epochs, policies or partitions, the
// seconds in which a key may still be on its way, repeats of one frame; in the cold
// tier a writer's withdrawal, of which the first part has more.
package model

const (
	begin      = 1 // of the epoch; time is in ticks
	wide       = 4 // the deadline that the policy gives
	narrow     = 2 // the same after the window was shortened
	grace      = 1 // how far clocks may differ
	ever       = 127
	maxEvents  = 2
	maxKeys    = 3
	maxWriters = 4
	maxEntries = 6
	nobody     = -1
)

// reading is how look-ups come in. In any case a fresh reader is asked in each state.
type reading int8

const (
	asFresh   reading = iota
	withCache         // also one that may have cached keys in any state before
	inSteps           // also one whose look-up is interleaved
)

// scenario bounds an exploration.
type scenario struct {
	events    int8 // in the partition
	until     int8 // the last tick
	minted    bool // the epoch has its key
	wardens   int
	ingesters int
	reader    reading
	faults    faults
	clocks    []clocks // each is explored; none: all are right
}

// model is what stays the same during an exploration.
type model struct {
	scenario
	flaw   flaw
	clocks clocks
}

func (m *model) is(f flaw) bool { return m.flaw&f != 0 }

func (m *model) start() state {
	s := state{now: begin, window: wide, term: wide, owner: nobody, left: m.faults}
	if m.minted { // by the first warden; the others have seen the key
		s.logs[0].had = true
		for i := 1; i < m.wardens; i++ {
			s.wardens[i].saw = true
		}
		s.deadlines[1] = wide
		s.directory.push(entry{sequence: 1})
		s.directory.safe = 1
		for i := range s.nodes {
			s.nodes[i] = node{keys: set(0).with(1), expiry: wide}
		}
	}
	return s
}

// explore explores a scenario under each of its clocks, until an invariant breaks.
func (sc scenario) explore(f flaw) (way []step, broken violation, states int) {
	all := sc.clocks
	if len(all) == 0 {
		all = []clocks{{}}
	}
	for _, c := range all {
		way, broken, n := explore(&model{scenario: sc, flaw: f, clocks: c})
		if states += n; broken != 0 {
			return way, broken, states
		}
	}
	return nil, 0, states
}

type yield = yields[state]

// steps yields all states that s can become.
func (m *model) steps(s *state, yield yield) {
	to := func(who string, number int, what string, n state) {
		if n.left.failover == 0 { // nothing is lost any more
			n.directory.safe = n.directory.length
			if n.left.swap == 0 {
				n.chunk.safe = n.chunk.length
			}
		}
		yield(who, number, what, n)
	}
	for i := range m.ingesters {
		m.kafkaSteps(s, i, to)
		m.ingesterSteps(s, i, to)
	}
	for i := range m.wardens {
		m.wardenSteps(s, i, to)
	}
	m.readerSteps(s, to)
	m.serverSteps(s, to)
	m.timeSteps(s, to)
}

// timeSteps let time pass. What is due in a warden or an expiry happens before the next tick.
func (m *model) timeSteps(s *state, to yield) {
	if s.now < m.until && !m.purgeDue(s) && !m.restoreDue(s) {
		n := *s
		n.now++
		n.forgetful = false
		m.expire(&n)
		m.sweep(&n)
		to("time", 0, "tick", n)
	}
	n := *s
	n.chunk.safe, n.directory.safe = n.chunk.length, n.directory.length
	for i := range n.ingesters {
		g := &n.ingesters[i]
		if g.aged = g.next; m.faults.swap+m.faults.failover > 0 { // else nothing is disowned
			if g.old = g.sequence; g.pending {
				g.old--
			}
		}
	}
	to("time", 0, "the commit delay passes", n)
}
