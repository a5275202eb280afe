package model

// answer is a keyring node's to Publish.
type answer int8

const (
	published answer = iota
	noKey
	notBegun
	destroyed
	silent
)

// publish is publish.lua, or without keys publish_wrap.lua for a writer of key of.
func (m *model) publish(s *state, i int, deadline int8, keys, wraps set, of int8) answer {
	n, clock := &s.nodes[i], s.now+m.clocks.nodes[i]
	switch {
	case n.marked && !m.is(noMark), clock >= deadline:
		return destroyed
	case clock < begin:
		return notBegun
	case keys == 0 && !n.keys.has(of):
		return noKey
	}
	if n.keys |= keys; n.expiry == 0 || deadline < n.expiry {
		n.expiry = deadline
	}
	if n.wraps |= wraps; m.is(noExpiry) {
		n.expiry = ever
	}
	return published
}

// publishOn is Keyring.onAny: one success is success, and an epoch is destroyed if all nodes say so.
func (m *model) publishOn(s *state, up set, deadline int8, keys, wraps set, of int8) answer {
	var answers [silent + 1]int
	for i := range s.nodes {
		if up.has(int8(i)) {
			answers[m.publish(s, i, deadline, keys, wraps, of)]++
		}
	}
	switch {
	case answers[destroyed] == len(s.nodes), answers[destroyed] > 0 && m.is(trustsRefusal):
		return destroyed
	case answers[published] > 0:
		return published
	case answers[noKey] > 0:
		return noKey
	}
	return silent
}

// fetch unites what the nodes that answer have.
func fetch(s *state, up set) (keys, wraps set) {
	for i, n := range s.nodes {
		if up.has(int8(i)) {
			keys |= n.keys
			wraps |= n.wraps
		}
	}
	return keys, wraps
}

const bothNodes set = 0b11

// call yields s for each set of nodes that may answer a call.
func call(s *state, do func(next state, up set)) {
	do(*s, bothNodes)
	if s.left.outage > 0 {
		n := *s
		n.left.outage--
		do(n, 0b01)
		do(n, 0b10)
	}
}

// expire is what servers do by themselves as time passes.
func (m *model) expire(s *state) {
	for i := range s.nodes {
		if n := &s.nodes[i]; n.expiry != 0 && s.now+m.clocks.nodes[i] >= n.expiry {
			*n = node{marked: n.marked}
		}
	}
	for _, deadline := range s.deadlines {
		if deadline != 0 && s.now+m.clocks.redis >= deadline {
			s.chunk, s.directory = journal{}, journal{}
		}
	}
}

// dueAt is the deadline that a warden enforces.
func (m *model) dueAt(s *state) int8 {
	due := s.window
	if keys, _ := fetch(s, bothNodes); m.is(adoptsFrozen) {
		for id, deadline := range s.deadlines {
			if keys.has(int8(id)) {
				due = max(due, deadline)
			}
		}
	}
	return due
}

// purgeDue: time waits for wardens only where a window was shortened; else expiry suffices.
func (m *model) purgeDue(s *state) bool {
	if s.window == wide {
		return false
	}
	for i, w := range s.wardens[:m.wardens] {
		if !w.purged && s.now+m.clocks.wardens[i] >= m.dueAt(s) {
			return true
		}
	}
	return false
}

func (m *model) wardenSteps(s *state, i int, to yield) {
	if i == 1 && s.wardens[0] == s.wardens[1] && m.clocks.wardens[0] == m.clocks.wardens[1] {
		return // the same as if the other did it
	}
	w, clock := s.wardens[i], s.now+m.clocks.wardens[i]
	does := func(what string, n state, w warden) {
		n.wardens[i] = w
		to("warden", i, what, n)
	}
	switch w.step {
	case idle:
		if due := m.dueAt(s); clock >= due && !w.purged {
			n := *s
			n.nodes[0] = node{marked: true}
			does("purge: Destroy on node 0", n, warden{step: destroying})
		} else if clock >= begin && clock < due {
			call(s, func(n state, up set) {
				keys, wraps := fetch(&n, up)
				does("Mint: fetch", n, warden{step: fetched, keys: keys, wraps: wraps})
			})
		}
	case fetched, announced:
		m.mintSteps(s, w, does)
	case destroying:
		n := *s
		if !m.is(destroysOne) {
			n.nodes[1] = node{marked: true}
		}
		does("purge: Destroy on node 1", n, warden{step: unlinking})
	case unlinking:
		n := *s
		n.chunk, n.directory = journal{}, journal{}
		does("purge: Unlink", n, warden{step: checking})
	case checking:
		n := *s
		if keys, _ := fetch(s, bothNodes); keys != 0 && !m.is(destroysOne) {
			does("purge: Holding: again", n, warden{})
			break
		}
		n.receipt = true
		does("purge: Holding: purged", n, warden{purged: true})
	}
	if s.left.crash > 0 && w.step != idle {
		n := *s
		n.left.crash--
		does("crash", n, warden{})
	}
}

// mintSteps go on after Mint's fetch: an announcement where there is no key, then Publish.
func (m *model) mintSteps(s *state, w warden, does func(string, state, warden)) {
	if w.keys == 0 && w.drawn == 0 {
		id := int8(1)
		for id <= maxKeys && s.deadlines[id] != 0 {
			id++
		}
		if id > maxKeys {
			return
		}
		n := *s
		n.deadlines[id] = s.window
		n.directory.push(entry{sequence: id})
		does("Mint: announce (Open)", n, warden{step: announced, drawn: id})
		return
	}
	keys := w.keys
	if w.drawn != 0 {
		keys = keys.with(w.drawn)
	}
	call(s, func(n state, up set) {
		m.publishOn(&n, up, s.window, keys, w.wraps, 0)
		does("Mint: Publish", n, warden{})
	})
}
