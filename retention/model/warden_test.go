package model

// dueAt is the deadline that a warden enforces.
func (m *model) dueAt(s *state) int8 {
	due := s.term
	if m.is(noTerm) {
		due = s.window
	}
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
	if s.term == wide {
		return false
	}
	for i, w := range s.wardens[:m.wardens] {
		if !w.purged && !m.ended(s, i) && s.now+m.clocks.wardens[i] >= m.dueAt(s) {
			return true
		}
	}
	return false
}

// ended: the epoch is over by a warden's own log.
func (m *model) ended(s *state, i int) bool { return s.logs[i].ended && !m.is(noTerm) }

// restoreDue: a node that came up empty is told of the purge before the next tick.
func (m *model) restoreDue(s *state) bool {
	return (s.logs[0].ended || s.logs[1].ended) && !(s.nodes[0].marked && s.nodes[1].marked) && !m.is(noRestore)
}

func (m *model) wardenSteps(s *state, i int, to yield) {
	if i == 1 && s.wardens[0] == s.wardens[1] && s.logs[0] == s.logs[1] && m.clocks.wardens[0] == m.clocks.wardens[1] {
		return // the same as if the other did it
	}
	w, clock := s.wardens[i], s.now+m.clocks.wardens[i]
	does := func(what string, n state, w warden) {
		n.wardens[i] = w
		to("warden", i, what, n)
	}
	switch w.step {
	case idle:
		due := m.dueAt(s)
		switch {
		case m.ended(s, i):
			if m.restoreDue(s) {
				n := *s
				n.nodes = [2]node{{marked: true}, {marked: true}}
				does("restore: Destroy", n, w)
			}
		case clock >= due && !w.purged:
			n := *s
			n.nodes[0] = node{marked: true}
			does("purge: Destroy on node 0", n, warden{step: destroying})
		case clock >= begin && clock < due:
			had := (s.logs[i].had || w.saw && !m.is(forgetsOthers)) && !m.is(forgetsSuccessor)
			call(s, func(n state, up set) {
				keys, wraps := fetch(&n, up)
				does("Mint: fetch", n, warden{
					step: fetched, keys: keys, wraps: wraps, drawn: w.drawn, had: had && keys == 0, saw: w.saw || keys != 0,
				})
			})
		}
	case fetched, announced:
		m.mintSteps(s, i, does)
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
		n.receipt, n.logs[i].ended = true, true
		n.forgetful = n.forgetful || !(n.nodes[0].marked && n.nodes[1].marked)
		does("purge: Holding: purged", n, warden{purged: true})
	}
	if s.left.crash > 0 && w.step != idle {
		n := *s
		n.left.crash--
		does("crash", n, warden{})
	}
}

// mintSteps go on after Mint's fetch: an announcement where there is no key, then Publish.
func (m *model) mintSteps(s *state, i int, does func(string, state, warden)) {
	w := s.wardens[i]
	if w.keys == 0 && w.drawn == 0 {
		id := int8(1)
		for id <= maxKeys && s.deadlines[id] != 0 {
			id++
		}
		if id > maxKeys {
			return
		}
		n := *s
		if n.deadlines[id] = m.dueAt(s); w.had {
			n.heirs = n.heirs.with(id)
		}
		n.logs[i].had = true
		n.directory.push(entry{sequence: id})
		does("Mint: announce (Open)", n, warden{step: announced, drawn: id, saw: true})
		return
	}
	keys := w.keys
	if keys == 0 {
		keys = keys.with(w.drawn)
	} else {
		w.drawn = 0
	}
	call(s, func(n state, up set) {
		after := warden{saw: w.saw, drawn: w.drawn} // offered again unless a node takes it
		if m.publishOn(&n, up, m.dueAt(s), keys, w.wraps, 0) == published {
			after = warden{saw: true}
		}
		does("Mint: Publish", n, after)
	})
}
