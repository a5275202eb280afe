package model

// Two wardens, one of them active by a lease, one epoch and what they write of it.
// Neither knows for certain that it is active: between two looks the lease may
// have run out, and the other may have it.

const (
	due      = 2 // the epoch's deadline
	dueLater = 4 // by a window that was lengthened
	span     = 2 // of a lease
	overdue  = due + span
	done     = dueLater + span + 2
)

// leaseState is canonical as state is.
type leaseState struct {
	now   int8
	wider bool // the policy's window
	nodes [2]leaseNode
	posts [2]post
	logs  [2]paper
	owed  set // keys that were published, or that a log which is still there has announced
	named set // those that a purge's entry names
	left  leaseFaults
}

// leaseNode is a keyring node. Keys do not expire here, so that each has to be destroyed.
type leaseNode struct {
	holder, till int8 // of the lease: a warden from 1
	keys         set  // by who minted them
	marked       bool
}

// post is what a warden remembers.
type post struct {
	active     bool
	listed     bool // the epoch has a status
	saw        set  // keys of it
	announcing bool // a key is in the log and not yet on the nodes
	purged     bool
	seen       bool // purged by the other, as far as this one has seen
	recorded   bool
	dead       bool // it never comes back
}

// paper is a warden's log.
type paper struct {
	had            set // keys that were announced
	purges, nevers int8
}

type leaseFaults struct {
	crash int8 // and restart of a warden
	die   int8 // for good, and its log with it
	widen int8 // a longer window, taken up by all
}

// leaseScenario bounds an exploration.
type leaseScenario struct {
	reach  [2]set // the nodes that each warden reaches, until it is healed
	healed int8   // when each reaches both
	faults leaseFaults
}

type leaseModel struct {
	leaseScenario
	flaw flaw
}

func (sc leaseScenario) explore(f flaw) (way []step, broken violation, states int) {
	return explore(&leaseModel{sc, f})
}

func (m *leaseModel) is(f flaw) bool { return m.flaw&f != 0 }

func (m *leaseModel) start() leaseState { return leaseState{left: m.faults} }

func (m *leaseModel) reaches(s *leaseState, i, node int) bool {
	return m.reach[i].has(int8(node)) || m.reachesAll(s, i)
}

func (m *leaseModel) reachesAll(s *leaseState, i int) bool {
	return m.reach[i] == bothNodes || m.healed > 0 && s.now >= m.healed
}

func (m *leaseModel) steps(s *leaseState, to yields[leaseState]) {
	m.actions(s, to)
	for i := range s.posts {
		if s.left.crash > 0 {
			n := *s
			n.left.crash--
			n.posts[i] = post{}
			to("warden", i, "crash", n)
		}
		if s.left.die > 0 {
			n := *s
			n.left.die--
			n.posts[i] = post{dead: true}
			to("warden", i, "dies", n)
		}
	}
	if s.left.widen > 0 && s.now >= due {
		n := *s
		n.left.widen--
		n.wider, n.posts = true, [2]post{}
		to("policy", 0, "a longer window, and everybody restarts", n)
	}
	if s.now < done && !m.behind(s) {
		n := *s
		n.now++
		for j := range n.nodes {
			if node := &n.nodes[j]; node.till == n.now {
				node.holder, node.till = 0, 0
			}
		}
		to("time", 0, "tick", n)
	}
}

// behind: the next tick waits until everybody has listed what there is, and when all is
// overdue for everything that can be done. A look at the lease may be late before.
func (m *leaseModel) behind(s *leaseState) bool {
	found := false
	m.actions(s, func(_ string, _ int, what string, _ leaseState) {
		found = found || what == "list" || s.now > overdue
	})
	return found
}

// actions are what wardens do of themselves.
func (m *leaseModel) actions(s *leaseState, to yields[leaseState]) {
	for i := range s.posts {
		if s.posts[i].dead {
			continue
		}
		does := func(what string, n leaseState) {
			if n != *s {
				to("warden", i, what, n)
			}
		}
		n := *s
		m.hold(&n, i)
		does("hold", n)
		n = *s
		m.list(&n, i)
		switch p := &s.posts[i]; {
		case n != *s: // each round begins with it
			does("list", n)
		case p.announcing:
			m.publish(s, i, does)
		case p.active:
			m.mint(s, i, does)
			m.purgeDue(s, i, does)
		case p.listed:
			m.standByFor(s, i, does)
		}
	}
}

// check judges what the nodes and both logs say.
func (m *leaseModel) check(s *leaseState) violation {
	holds := s.nodes[0].keys|s.nodes[1].keys != 0
	purges := s.logs[0].purges + s.logs[1].purges
	for _, l := range s.logs {
		if l.purges+l.nevers > 1 || l.had != 0 && l.nevers > 0 {
			return contradiction
		}
	}
	switch {
	case holds && purges > 0:
		return lyingReceipt
	case holds && s.now > overdue+1: // a standby looks once per tick
		return readable
	}
	if m.is(seeksAnswer) && purges == 2 {
		return answered
	}
	if s.now < done {
		return 0
	}
	able := false
	m.actions(s, func(string, int, string, leaseState) { able = true })
	switch {
	case able:
	case s.owed&^s.named != 0:
		return unwritten
	}
	return 0
}
