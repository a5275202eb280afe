package model

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
