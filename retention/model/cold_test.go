package model

// The cold tier: one unit, which two compactors move from its chunk into
// generations while a writer adds a late frame, a reader looks, and the warden purges.
// Frame i holds event i; all are of one writer.

const (
	frames      = 3
	early       = 2 // frames that are there, manifest and all, when the epoch is over
	generations = 4
	versions    = 4 // of a server that a failover may go back to
)

// unit is what a server has of the unit. Another one has the manifest.
type unit struct {
	chunk  set                  // frames
	claim  claim                // of the generation that is being made
	head   head                 // of the current one
	blocks [generations + 1]set // by generation: the events in its blocks
}

type claim struct {
	generation, owner int8
	open              bool // the lease has not run out
}

type head struct{ generation, covered int8 }

// coldState is canonical as state is. The server is the last of its versions; those
// before are what a replica may have when a failover makes it the server.
type coldState struct {
	past       [versions]unit
	length     int8
	server     unit
	written    int8 // frames that the manifest claims
	committed  int8 // of those, which Kafka is not asked for again
	purged     bool
	compactors [2]compactor
	reader     coldReader
	left       coldFaults
	broken     violation
}

// What a compactor does next, in the code's words.
const (
	claiming int8 = iota
	readingChunk
	readingHead
	readingBlocks
	putting
	flipping
	tidying
	removing
)

// compactor is a store.compaction under way.
type compactor struct {
	step       int8
	written    int8 // Units: what the manifest claimed
	generation int8
	frames     set  // of the chunk
	current    head // that it read, or flipped
	covered    int8
	events     set // what the new generation is to have
}

// coldReader is a look-up under way.
type coldReader struct {
	step    int8 // 0 none, 1 has the directory, 2 chunks, 3 heads
	again   bool // it has read once more
	must    int8
	written int8
	frames  set
	head    head
}

type coldFaults struct {
	crash    int8 // of a compactor, at any step
	expiry   int8 // of a claim's lease: its owner is slow
	failover int8
	evict    int8 // of the chunk, the generations, or blocks
	late     int8 // frames that come after the epoch's end
	purge    int8 // the epoch comes due
	looks    int8 // look-ups that are interleaved; one in between is asked in each state
}

// coldScenario bounds an exploration.
type coldScenario struct {
	compactors int
	faults     coldFaults
}

type coldModel struct {
	coldScenario
	flaw flaw
}

func (sc coldScenario) explore(f flaw) (way []step, broken violation, states int) {
	return explore(&coldModel{sc, f})
}

func (m *coldModel) is(f flaw) bool { return m.flaw&f != 0 }

func (m *coldModel) start() coldState {
	return coldState{server: unit{chunk: first(early)}, written: early, committed: early, left: m.faults}
}

// first is the set of the first n frames, or of their events.
func first(n int8) set { return 1<<n - 1 }

func (m *coldModel) steps(s *coldState, to yields[coldState]) {
	for i := range m.compactors {
		if i == 0 || s.compactors[0] != s.compactors[1] {
			m.compactorSteps(s, i, to)
		}
	}
	m.lookSteps(s, to)
	m.unitSteps(s, to)
}

// write makes a new version of the server.
func (m *coldModel) write(s *coldState, change func(*unit)) {
	before := s.server
	change(&s.server)
	if s.server == before || s.left.failover == 0 {
		return
	}
	if s.length == versions { // so far back no failover goes
		copy(s.past[:], s.past[1:])
		s.length--
	}
	s.past[s.length] = before
	s.length++
}

// unitSteps are what befalls the unit.
func (m *coldModel) unitSteps(s *coldState, to yields[coldState]) {
	does := func(who, what string, n coldState) {
		if n.left.failover == 0 {
			n.past, n.length = [versions]unit{}, 0
		}
		to(who, 0, what, n)
	}
	if frame := s.written; s.left.late > 0 && !s.purged {
		n := *s
		if !s.server.chunk.has(frame) {
			m.write(&n, func(u *unit) { u.chunk = u.chunk.with(frame) })
			does("ingester", "Append: frames", n)
		} else {
			n.left.late--
			n.written++
			does("ingester", "Append: manifest", n)
		}
	}
	if s.length > 0 || s.committed < s.written {
		n := *s
		n.past, n.length, n.committed = [versions]unit{}, 0, s.written
		does("time", "the commit delay passes", n)
	}
	for back := range s.length {
		n := *s
		n.left.failover--
		n.server = s.past[back]
		n.past, n.length = [versions]unit{}, 0
		n.left.late += n.written - n.committed // Rewind, and Withdraw: see ingest_test.go
		n.written = n.committed
		if !m.is(coldElsewhere) {
			does("redis", "failover", n)
			continue
		}
		n.server.chunk = s.server.chunk
		does("redis", "failover of the generations' server", n)
	}
	if s.left.evict > 0 && !s.purged {
		for what, left := range map[string]unit{
			"loses the chunk":            {claim: s.server.claim, head: s.server.head, blocks: s.server.blocks},
			"loses the generations":      {chunk: s.server.chunk},
			"loses a generation's block": {chunk: s.server.chunk, claim: s.server.claim, head: s.server.head},
		} {
			n := *s
			n.left.evict--
			m.write(&n, func(u *unit) { *u = left })
			does("redis", what, n)
		}
	}
	if s.left.purge > 0 {
		n := *s
		n.left.purge--
		n.purged, n.reader = true, coldReader{}
		m.write(&n, func(u *unit) { *u = unit{} })
		does("warden", "purge: Unlink", n)
	}
	if s.left.expiry > 0 && s.server.claim.open {
		n := *s
		n.left.expiry--
		n.server.claim.open = false
		does("time", "the claim's lease runs out", n)
	}
}
