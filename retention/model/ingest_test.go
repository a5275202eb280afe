package model

func (m *model) ingesterSteps(s *state, i int, to yield) {
	g, clock := s.ingesters[i], s.now+m.clocks.ingesters[i]
	does := func(what string, n state) { to("ingester", i, what, n) }
	switch g.step {
	case gathering:
		m.flushSteps(s, i, does)
	case sealing, wrapping:
		m.sealSteps(s, i, does)
	case appendingFrames, appendingManifest:
		m.appendSteps(s, i, does)
	case verifying:
		apart := s.now + m.clocks.redis - clock
		if apart > grace || -apart > grace && !m.is(aheadUnnoticed) {
			break // clocks first
		}
		n := *s
		if s.identity != g.identity && !m.is(noRewind) {
			m.leave(&n, i)
			m.disown(&n.ingesters[i], g.next)
			does("verify: Rewind", n)
			break
		}
		n.ingesters[i].step = committing
		does("verify", n)
	case committing:
		n := *s
		if m.is(reckonsLate) {
			g.due, g.reckoned = g.aged, g.old
		}
		n.ingesters[i].base, n.ingesters[i].reckoned = max(g.base, g.reckoned), 0 // Settle
		if s.owner != int8(i) || g.revoked {
			m.leave(&n, i)
		} else {
			n.ingesters[i].step, n.ingesters[i].due = gathering, 0
		}
		if s.owner == int8(i) {
			n.committed = max(n.committed, g.due)
			m.makeGood(&n, i)
		}
		does("commit", n)
	}
	if g.step > gathering && (g.revoked || s.owner != int8(i)) {
		n := *s
		m.leave(&n, i)
		does("finish: aborted", n)
	}
}

// flushSteps take what the lanes have, anything up to all there is.
func (m *model) flushSteps(s *state, i int, does func(string, state)) {
	g := s.ingesters[i]
	for end := g.next + 1; end <= m.events; end++ {
		n := *s
		n.ingesters[i].to = end
		if m.is(commitsFirst) && s.owner == int8(i) {
			n.committed = max(n.committed, end)
		}
		if s.now+m.clocks.ingesters[i] >= s.window {
			m.stored(&n, i)
			does("take: expired", n)
			continue
		}
		n.ingesters[i].step = sealing
		does("flush", n)
	}
	if g.revoked || g.aged > s.committed || s.owner != int8(i) {
		n := *s
		n.ingesters[i].to = g.next
		m.stored(&n, i)
		does("flush: nothing", n)
	}
}

// stored ends a flush, and reckons what may be committed before it is verified.
func (m *model) stored(s *state, i int) {
	g := &s.ingesters[i]
	g.next, g.to, g.key, g.blind = g.to, 0, 0, false
	g.step, g.due, g.reckoned = verifying, g.aged, g.old
	if g.revoked && m.is(finishesAtOnce) {
		g.due = g.next
	}
}

// sealSteps are Writer.Seal: what is due is left out; then Public, PublishWrap, and the next sequence.
func (m *model) sealSteps(s *state, i int, does func(string, state)) {
	start := *s
	g := &start.ingesters[i]
	if g.step == wrapping {
		call(&start, func(n state, up set) { m.wrap(&n, i, up, does) })
		return
	}
	if g.pending {
		if !m.is(keepsSequence) {
			g.drop()
		}
		g.pending = false
	}
	if s.now+m.clocks.ingesters[i] >= s.window && !m.is(waitsForDead) {
		m.stored(&start, i)
		does("Seal: expired", start)
		return
	}
	call(&start, func(n state, up set) {
		keys, _ := fetch(&n, up)
		g, mine := &n.ingesters[i], n.sealsFor[g.writer]
		if purged := up.has(0) && n.nodes[0].marked || up.has(1) && n.nodes[1].marked; purged && (keys == 0 || g.writer != 0 && !keys.has(mine)) {
			g.drop()
			m.stored(&n, i)
			does("Seal: purged", n)
			return
		}
		if g.writer != 0 && !keys.has(mine) {
			g.drop()
			m.leave(&n, i)
			does("Seal: ErrKeyLost: Rewind", n)
			return
		}
		if g.writer != 0 && m.is(wrapsOnce) {
			_, wraps := fetch(&n, bothNodes)
			g.blind = !wraps.has(g.writer)
			m.sealed(&n, i)
			does("Seal", n)
			return
		}
		for id := int8(1); id <= maxKeys; id++ { // by the wardens' clocks any may be the newest
			if keys.has(id) {
				next := n
				next.ingesters[i].step, next.ingesters[i].key = wrapping, id
				does("Seal: Public", next)
			}
		}
	})
}

// wrap is PublishWrap: of a new writer, or again of the one there is, so that a wrap outlives its nodes.
func (m *model) wrap(n *state, i int, up set, does func(string, state)) {
	g := &n.ingesters[i]
	id := g.writer
	if n.sealsFor[id] != g.key {
		for id = 1; id <= maxWriters && n.sealsFor[id] != 0; id++ {
		}
		if id > maxWriters {
			return
		}
	}
	switch answer := m.publishOn(n, up, n.deadlines[g.key], 0, set(0).with(id), g.key); {
	case answer == published:
		if n.sealsFor[id] = g.key; id != g.writer {
			g.drop()
			g.writer = id
		}
		m.sealed(n, i)
		does("Seal: PublishWrap", *n)
	case answer == destroyed && m.is(trustsRefusal):
		m.stored(n, i)
		does("Seal: PublishWrap: expired", *n)
	default:
		g.step, g.key = sealing, 0
		does("Seal: PublishWrap: again", *n)
	}
}

func (m *model) sealed(s *state, i int) {
	g := &s.ingesters[i]
	g.sequence++
	g.step, g.key, g.pending = appendingFrames, 0, true
	if m.is(manifestFirst) {
		g.step = appendingManifest
	}
}

// appendSteps are Store.Append: frames, then the manifest; a due one deletes itself.
func (m *model) appendSteps(s *state, i int, does func(string, state)) {
	n := *s
	g := &n.ingesters[i]
	deadline := s.deadlines[s.sealsFor[g.writer]]
	if s.now+m.clocks.ingesters[i] >= deadline {
		g.pending = false
		m.stored(&n, i)
		does("Append: expired", n)
		return
	}
	first := (g.step == appendingManifest) == m.is(manifestFirst)
	server, e, what, after := &n.chunk, entry{g.writer, g.sequence, g.next, g.to}, "Append: frames", appendingManifest
	if g.step == appendingManifest {
		server, e, what, after = &n.directory, entry{writer: g.writer, sequence: g.sequence}, "Append: manifest", appendingFrames
	}
	if s.now+m.clocks.redis < deadline && !server.push(e) {
		return
	}
	g.step = after
	if !first {
		if g.pending = false; m.faults.swap > 0 {
			n.stored = max(n.stored, g.to)
		}
		m.stored(&n, i)
	}
	does(what, n)
}
