package model

// lookSteps are search.each: the directory, chunks, heads, blocks, and once more from
// the chunks on where something is missing.
func (m *coldModel) lookSteps(s *coldState, to yields[coldState]) {
	n := *s
	r := &n.reader
	does := func(what string) { to("reader", 0, what, n) }
	server := &s.server
	switch r.step {
	case 0:
		if s.left.looks == 0 || s.purged {
			return
		}
		n.left.looks--
		*r = coldReader{step: 1, must: s.committed, written: s.written}
		does("Directories")
	case 1:
		if r.frames, r.step = server.chunk, 2; m.is(headsFirst) {
			r.frames, r.head = 0, server.head
		}
		does("Chunks")
	case 2:
		if r.step = 3; m.is(headsFirst) {
			r.frames = server.chunk
		} else {
			r.head = server.head
		}
		does("Heads")
	case 3:
		events, whole := m.find(server, r.written, r.frames, r.head)
		if !whole && !r.again && !m.is(readsOnce) {
			r.again, r.step, r.frames, r.head = true, 1, 0, head{}
			does("Blocks: something is missing: again")
			return
		}
		n.broken = m.judge(s, r.must, events, whole)
		*r = coldReader{}
		does("Blocks")
	}
}

// find gives the events of an answer and whether it has all that is claimed.
func (m *coldModel) find(u *unit, written int8, frames set, h head) (events set, whole bool) {
	blocks := u.blocks[h.generation]
	whole = h.generation == 0 || blocks != 0
	events = frames | blocks
	for frame := h.covered; frame < written; frame++ {
		whole = whole && frames.has(frame)
	}
	return events, whole
}

// judge judges an answer when the first must events were committed before its question.
func (m *coldModel) judge(s *coldState, must int8, events set, whole bool) violation {
	missing := first(must)&^events != 0
	switch {
	case s.purged:
		return 0 // no key opens anything of it, see keyring_test.go
	case missing && whole:
		return silentLoss
	case !whole && s.left.evict == m.faults.evict && s.left.failover == m.faults.failover:
		return falseAlarm
	}
	return 0
}

// check asks a look-up between two steps, and looks at what is left after a purge.
func (m *coldModel) check(s *coldState) violation {
	if s.broken != 0 {
		return s.broken
	}
	u := &s.server
	if s.purged && s.left.failover == m.faults.failover && (u.head != head{} || u.blocks != [generations + 1]set{}) {
		return remains
	}
	if m.is(seeksAnswer) && u.head.covered == early && u.chunk == 0 && s.reader.step == 0 && !s.purged {
		return answered // by the cold tier alone
	}
	events, whole := m.find(u, s.written, u.chunk, u.head)
	if first(s.committed)&^events != 0 && !whole && !s.purged && s.left.evict == m.faults.evict {
		return lost
	}
	return m.judge(s, s.committed, events, whole)
}
