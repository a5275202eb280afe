package model

// hold is Warden.hold, with lease.lua on every node that it reaches.
func (m *leaseModel) hold(s *leaseState, i int) {
	votes, answers := [3]int{}, 0
	for j := range s.nodes {
		if !m.reaches(s, i, j) {
			continue
		}
		node := &s.nodes[j]
		if node.holder == 0 || node.holder == int8(i)+1 {
			node.holder, node.till = int8(i)+1, s.now+span
		}
		answers++
		votes[node.holder]++
	}
	if s.posts[i].active = 2*votes[i+1] > answers; s.posts[i].active || 2*votes[2-i] > answers {
		return
	}
	for j := range s.nodes { // nobody has most of them
		if node := &s.nodes[j]; m.reaches(s, i, j) && node.holder == int8(i)+1 {
			node.holder, node.till = 0, 0
		}
	}
}

// list is how an epoch gets its status: from the policy where a standby looks, by the
// log where an active one does, from the keyring, and from what the log still owes.
func (m *leaseModel) list(s *leaseState, i int) {
	p, l := &s.posts[i], s.logs[i]
	ended := l.purges+l.nevers > 0
	for j, node := range s.nodes {
		if m.reaches(s, i, j) && node.keys != 0 { // adopt
			p.listed = true
			p.saw |= node.keys
		}
	}
	switch {
	case l.had != 0 && !ended && s.now >= due && !m.is(forgetsDebts): // collect
		p.listed = true
		p.saw |= l.had
	case p.active && s.now < due && !ended: // term
		p.listed = true
	case !p.active && s.now < m.deadline(s, i) && (!ended || m.is(listsEnded)): // standBy
		p.listed = true
	}
}

// deadline is that of a status: a key says its own.
func (m *leaseModel) deadline(s *leaseState, i int) int8 {
	if s.wider && s.posts[i].saw == 0 {
		return dueLater
	}
	return due
}

// mint announces a key where no node has one.
func (m *leaseModel) mint(s *leaseState, i int, does func(string, leaseState)) {
	p := &s.posts[i]
	if !p.listed || s.now >= due || p.purged || s.nodes[0].keys|s.nodes[1].keys != 0 {
		return
	}
	n := *s
	n.posts[i].announcing, n.posts[i].saw = true, p.saw.with(int8(i))
	n.logs[i].had = n.logs[i].had.with(int8(i))
	if s.left.die == 0 && !s.posts[1-i].dead {
		n.owed |= n.logs[i].had
	}
	does("Mint: announce", n)
}

// publish ends a mint, whoever is active by then.
func (m *leaseModel) publish(s *leaseState, i int, does func(string, leaseState)) {
	n := *s
	n.posts[i].announcing = false
	for j := range n.nodes {
		node := &n.nodes[j]
		if m.reaches(s, i, j) && !node.marked && s.now < due {
			node.keys = node.keys.with(int8(i))
			n.owed |= node.keys
		}
	}
	does("Mint: Publish", n)
}

// purgeDue is Warden.purge and Warden.record of an active warden.
func (m *leaseModel) purgeDue(s *leaseState, i int, does func(string, leaseState)) {
	p := s.posts[i]
	if !p.listed || s.now < m.deadline(s, i) {
		return
	}
	if !p.purged || p.seen && !m.is(leavesSeen) {
		m.purge(s, i, does)
	} else if !p.recorded && !p.seen {
		m.record(s, i, does)
	}
}

// purge destroys on every node that is reached, and counts where that is all of them.
func (m *leaseModel) purge(s *leaseState, i int, does func(string, leaseState)) {
	n := *s
	p := &n.posts[i]
	for j := range n.nodes {
		if m.reaches(s, i, j) {
			n.nodes[j].keys, n.nodes[j].marked = 0, true
		}
	}
	if m.reachesAll(s, i) || m.is(purgesUnverified) {
		p.purged, p.seen = true, false
	}
	does("purge", n)
}

func (m *leaseModel) record(s *leaseState, i int, does func(string, leaseState)) {
	n := *s
	if saw := n.posts[i].saw; saw != 0 {
		n.logs[i].purges++
		n.named |= saw
	} else {
		n.logs[i].nevers++
	}
	if n.left.crash > 0 { // it has written, and does not live to know it
		c := n
		c.left.crash--
		c.posts[i] = post{}
		does("record, and crash", c)
	}
	n.posts[i].recorded = true
	does("record", n)
}

// standByFor sees that a due epoch is gone, or purges what the active one has left.
func (m *leaseModel) standByFor(s *leaseState, i int, does func(string, leaseState)) {
	p := s.posts[i]
	deadline := m.deadline(s, i)
	if s.now < deadline {
		return
	}
	switch gone := m.reachesAll(s, i) && s.nodes[0].keys|s.nodes[1].keys == 0; {
	case p.purged && !p.seen && !p.recorded:
		m.record(s, i, does) // its own, from when it was active or after an overdue one
	case p.purged:
	case gone:
		n := *s
		owed := s.logs[i].had != 0 && s.logs[i].purges+s.logs[i].nevers == 0 && !m.is(leavesDebts)
		n.posts[i].purged, n.posts[i].seen = true, !owed // what its own log owes it sees through at once
		does("standBy: gone", n)
	case s.now > deadline+span && !m.is(leavesOverdue):
		m.purge(s, i, does)
	}
}
