package model

// compactorSteps are Compactor.Compact. Each may be the last.
func (m *coldModel) compactorSteps(s *coldState, i int, to yields[coldState]) {
	does := func(what string, n coldState, c compactor) {
		if c == (compactor{}) || c.step > claiming {
			n.compactors[i] = c
		}
		if n.left.failover == 0 {
			n.past, n.length = [versions]unit{}, 0
		}
		to("compactor", i, what, n)
	}
	c, n := s.compactors[i], *s
	if s.left.crash > 0 && c.step != claiming {
		n.left.crash--
		does("crash", n, compactor{})
		n = *s
	}
	switch c.step {
	case claiming:
		m.claimStep(n, i, does)
	case readingChunk:
		c.frames, c.step = s.server.chunk, readingHead
		does("Chunks", n, c)
	case readingHead:
		m.mergeFrames(s, &c)
		c.step = readingBlocks
		does("Heads", n, c)
	case readingBlocks:
		m.mergeBase(n, i, c, does)
	case putting:
		if !m.mine(s, i, c) {
			does("Put: ErrClaimed", n, compactor{})
			return
		}
		m.write(&n, func(u *unit) { u.blocks[c.generation], u.claim.open = c.events, true })
		c.step = flipping
		does("Put", n, c)
	case flipping:
		m.flipStep(n, i, c, does)
	case tidying:
		if s.server.head != c.current && !m.is(tidiesBlindly) {
			does("Tidy: ErrClaimed", n, compactor{})
			return
		}
		m.write(&n, func(u *unit) { clear(u.blocks[:c.generation]) })
		c.step = removing
		if m.is(removesFirst) {
			c = compactor{}
		}
		does("Tidy", n, c)
	case removing:
		if s.server.head != c.current && !m.is(removesBlindly) && !m.is(removesFirst) {
			does("Remove: ErrClaimed", n, compactor{})
			return
		}
		gone := c.frames & first(c.covered)
		m.write(&n, func(u *unit) { u.chunk &^= gone })
		if c.step = putting; !m.is(removesFirst) {
			c = compactor{}
		}
		does("Remove", n, c)
	}
}

// mine is how put.lua and flip.lua begin.
func (m *coldModel) mine(s *coldState, i int, c compactor) bool {
	claim := s.server.claim
	return claim.generation == c.generation && claim.owner == int8(i)+1 || m.is(noClaim)
}

// claimStep is claim.lua. Whoever finds nothing to do has not come here.
func (m *coldModel) claimStep(n coldState, i int, does func(string, coldState, compactor)) {
	u := n.server
	generation := u.claim.generation + 1
	if n.purged && u.chunk == 0 || generation > generations || u.chunk&first(n.written) == 0 ||
		u.claim.open && u.claim.owner != int8(i)+1 && !m.is(noClaim) {
		return
	}
	m.write(&n, func(u *unit) { u.claim = claim{generation, int8(i) + 1, true} })
	does("Claim", n, compactor{step: readingChunk, generation: generation, written: n.written})
}

// mergeFrames takes the frames that follow what is covered, as far as they are there
// and acknowledged.
func (m *coldModel) mergeFrames(s *coldState, c *compactor) {
	c.current = s.server.head
	c.covered = c.current.covered
	for frame := c.covered; frame < c.written; frame++ {
		if !c.frames.has(frame) {
			if m.is(coversGaps) {
				continue
			}
			break
		}
		c.covered, c.events = frame+1, c.events.with(frame)
	}
}

// mergeBase adds what the current generation has; with nothing new it only removes.
func (m *coldModel) mergeBase(n coldState, i int, c compactor, does func(string, coldState, compactor)) {
	release := func() {
		if m.mine(&n, i, c) {
			m.write(&n, func(u *unit) { u.claim.open = false })
		}
	}
	base := n.server.blocks[c.current.generation]
	switch {
	case c.events == 0:
		release()
		c.step = removing
		if c.frames&first(c.covered) == 0 || m.is(removesFirst) {
			c = compactor{}
		}
		does("Release", n, c)
		return
	case c.current.generation > 0 && base == 0 && !m.is(ignoresDamage):
		release()
		does("Blocks: ErrDamaged", n, compactor{})
		return
	}
	c.events |= base
	c.step = putting
	if m.is(removesFirst) {
		c.step = removing
	}
	does("Blocks", n, c)
}

// flipStep is flip.lua: the blocks are there, and the claim is still its own.
func (m *coldModel) flipStep(n coldState, i int, c compactor, does func(string, coldState, compactor)) {
	switch {
	case !m.mine(&n, i, c):
		does("Flip: ErrClaimed", n, compactor{})
	case n.server.blocks[c.generation] == 0 && !m.is(flipsBlindly):
		does("Flip: a block is missing", n, compactor{})
	default:
		m.write(&n, func(u *unit) {
			u.head, u.claim.open = head{c.generation, c.covered}, false
		})
		c.step, c.current = tidying, n.server.head
		does("Flip", n, c)
	}
}
