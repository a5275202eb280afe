// Package model is a small model of the guarantee: one epoch of one policy, two
// ingesters, two wardens, two keyring nodes, the store's two kinds of Redis
// keys and a reader, whose steps an explorer interleaves in every order, with
// faults between any two. Steps bear the names that the code gives them. Nobody imports it.
//
// The invariants (invariants_test.go) hold in every state that can be reached
// within the bounds:
//
//   - a look-up never misses an event whose offset is committed, inside its
//     window, and says that it is complete; nor gives an event twice;
//   - nothing is readable past its deadline plus grace;
//   - after a purge's receipt no keyring node holds the epoch;
//   - where nothing went wrong no look-up says that something is missing;
//   - ingest never waits for what can't come, nor seals what nobody can open.
//
// A flaw is a protection taken out. For each a test shows that the explorer
// finds what it protects from, so that the invariants are known to bite.
//
// What is assumed: what was written longer ago than the commit delay survives a
// failover; clocks are at most grace apart where a scenario does not say more;
// where a window was shortened, a purge that is due comes before the next tick.
// What is left out: shards and views, several epochs, policies or partitions,
// the seconds in which a key may still be on its way, repeats of one frame.
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

// state is everything that a step may change. It is comparable and canonical:
// what is over is zero, so equal situations are equal states.
type state struct {
	now       int8
	window    int8                 // the policy's deadline for the epoch
	term      int8                 // the earliest that the wardens' logs know
	committed int8                 // Kafka: events below are acknowledged
	stored    int8                 // events below were stored once, where faults.swap has a use for it
	owner     int8                 // Kafka: the ingester that has the partition
	deadlines [maxKeys + 1]int8    // of the keys that were drawn, by id from 1
	sealsFor  [maxWriters + 1]int8 // the key of each writer, by id from 1
	heirs     set                  // keys with the successor flag
	nodes     [2]node
	chunk     journal // on one data server
	directory journal // on another
	identity  int8    // of the data servers
	ingesters [2]ingester
	wardens   [2]warden
	logs      [2]ledger
	reader    reader
	left      faults
	receipt   bool
	forgetful bool      // a node has lost the mark in this tick
	broken    violation // by a step that answered wrongly
}

// set is a set of key or writer ids.
type set uint8

func (s set) has(id int8) bool { return s>>id&1 == 1 }
func (s set) with(id int8) set { return s | 1<<id }

// node is a keyring node: an epoch's hashes with their common expiry, and the mark.
type node struct {
	keys, wraps set
	expiry      int8
	marked      bool
}

// journal is one Redis key as the order of writes to it. A failover keeps the
// safe ones and any number of those after them.
type journal struct {
	entries      [maxEntries]entry
	length, safe int8
}

// entry is a frame of the events [from, to), sequence-th of its writer; in the
// directory a manifest of that many frames, or with no writer the key of that id.
type entry struct{ writer, sequence, from, to int8 }

// What an ingester does next.
const (
	away int8 = iota // not a member of the group
	gathering
	sealing  // Seal: Public
	wrapping // Seal: PublishWrap
	appendingFrames
	appendingManifest
	verifying
	committing
)

// ingester is a generation of the pipeline and its store.Writer, which outlives generations.
type ingester struct {
	step     int8
	revoked  bool
	next, to int8 // stored so far, and end of the batch under way
	aged     int8 // stored longer ago than the commit delay
	due      int8 // to commit once verified
	identity int8
	key      int8 // while wrapping
	writer   int8 // 0: none
	sequence int8
	pending  bool // sealed, not appended
	blind    bool // sealed although no keyring node had its wrap
	old      int8 // of the writer's sequence: what was stored longer ago than the commit delay,
	reckoned int8 // the same before verify,
	base     int8 // and what Settle was told of it
	disowned [2]withdrawal
	lost     int8 // events below may be lost until they are committed anew
}

// withdrawal is a writer whose claims are to be taken back, but those up to a sequence.
type withdrawal struct{ writer, keeps int8 }

// What a warden does next.
const (
	idle int8 = iota
	fetched
	announced
	destroying
	unlinking
	checking // Holding
)

type warden struct {
	step        int8
	keys, wraps set  // what Mint fetched
	drawn       int8 // the key that it announced, until a node has it
	had         bool // what it knew when it looked: there was a key before
	saw         bool // a key, be it another warden's
	purged      bool
}

// ledger is what a warden's own log says of the epoch. It outlives the warden.
type ledger struct{ had, ended bool }

// reader is a look-up under way and its process's keyring.Opener.
type reader struct {
	step     int8 // 0 none, 1 has directories, 2 has keys, 3 has chunks
	must     int8 // events acknowledged when it began
	seen     index
	opened   opened
	found    found
	cache    set
	deadline int8 // of the cache, by wall clock
	boot     int8 // of the cache, by CLOCK_BOOTTIME
	kek      int8 // what the key-encryption key was advanced to
	jump     int8 // a wrong clock, until it is set right
}

// index is what a reader takes from a directory.
type index struct {
	keys    set
	written [maxWriters + 1]int8
}

// opened is what Opener.Keys gave.
type opened struct {
	keys      set
	destroyed bool
}

// found is an answer: how often each event is in it, and until when it may be given.
type found struct {
	events   [maxEvents]int8
	deadline int8
	complete bool
}

// faults is how many of each may still happen.
type faults struct {
	crash    int8 // of an ingester or warden
	failover int8 // of data servers
	evict    int8 // of a Redis key
	restart  int8 // of a keyring node: it loses everything
	outage   int8 // of a keyring node for one call
	revoke   int8 // a rebalance that lets the owner finish
	expel    int8 // one that does not: the owner becomes a late writer
	jump     int8 // the reader's clock is set wrong
	narrow   int8 // the policy's window is shortened
	widen    int8 // and lengthened again
	swap     int8 // a failover of the chunk's server alone
}

// clocks are offsets from true time.
type clocks struct {
	nodes, wardens, ingesters [2]int8
	reader, redis             int8
}

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

// flaw is a protection taken out.
type flaw uint64

const (
	manifestFirst      flaw = 1 << iota // Append writes the manifest before the frames
	keepsSequence                       // Seal goes on after a batch that was sealed and never appended
	commitsFirst                        // offsets are committed before storage
	finishesAtOnce                      // finish commits without the commit delay
	reckonsLate                         // commit reckons the delay after verify, not before
	noRewind                            // verify overlooks another identity
	aheadUnnoticed                      // verify overlooks that Redis is behind this machine
	waitsForDead                        // Seal waits for the key of an epoch that is over
	trustsRefusal                       // Seal takes ErrDestroyed for expiry before the deadline
	wrapsOnce                           // Seal does not look after its wrap
	noMark                              // Publish overlooks the purged-through mark
	noExpiry                            // Publish sets no expiry
	countsAnnounced                     // Find takes a key that was only announced for one that was used
	destroysOne                         // Destroy is content with one node, and nobody checks
	adoptsFrozen                        // a key's own deadline outlives a shortened window
	trustsKeyring                       // Find does not compare keys with the directory
	ignoresManifests                    // Find does not count frames
	keepsRepeats                        // Find does not drop an event that it has
	noFilter                            // answer does not leave out what is due
	believesDestroyed                   // Find takes ErrDestroyed for death although the epoch lives
	cachesBlindly                       // Opener serves its cache although the directory names another key
	cachesFrozen                        // Opener keeps a key until its own deadline though the window was shortened
	cachesOn                            // Opener does not sweep
	cachesByWallClock                   // Opener sweeps by wall clock alone
	remainsByWallClock                  // Opener reckons by wall clock how long a key remains

	coldElsewhere    // a generation is on another server than its chunk
	removesFirst     // Remove comes before Put and Flip
	noClaim          // put.lua and flip.lua do not compare the claim, nor does claim.lua
	coversGaps       // mergeFrames goes on behind a frame that is missing
	ignoresDamage    // mergeBase goes on without blocks that are lost
	flipsBlindly     // flip.lua does not look for the blocks
	tidiesBlindly    // Tidy does not look whether the flip is still there
	removesBlindly   // Remove does not
	headsFirst       // a reader reads heads before chunks
	readsOnce        // a reader does not read again
	noTerm           // wardens go by the policy's window alone, not by their logs
	noRestore        // wardens do not restore marks
	forgetsSuccessor // Mint forgets that there was a key
	forgetsOthers    // a warden remembers only the keys of its own log
	withdrawsEarly   // Withdraw does not wait until all is stored again
	withdrawsAll     // Disown keeps no claim on what was committed
	neverWithdraws   // claims on what was lost stay
	forgetsLoss      // a second failover forgets what the first has lost

	seeksAnswer // no flaw: calls a full answer a violation, to show that there is one
)

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
		g.aged, g.old = g.next, g.sequence
		if g.pending {
			g.old--
		}
	}
	to("time", 0, "the commit delay passes", n)
}
