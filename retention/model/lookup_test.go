package model

// readerClock is what the reader's process takes for the time.
func (m *model) readerClock(s *state) int8 { return s.now + m.clocks.reader + s.reader.jump }

// sweep is Opener.Run: it drops due keys and advances the key-encryption key.
func (m *model) sweep(s *state) {
	r, clock := &s.reader, m.readerClock(s)
	if due := clock >= r.deadline || s.now >= r.boot && !m.is(cachesByWallClock); due && !m.is(cachesOn) {
		r.cache, r.deadline, r.boot = 0, 0, 0
	}
	r.kek = max(r.kek, clock)
}

// deadlineFor is when a reader stops to give what a key opens.
func (m *model) deadlineFor(s *state, key int8) int8 {
	if m.is(adoptsFrozen) {
		return s.deadlines[key]
	}
	return min(s.deadlines[key], s.window)
}

// open is Opener.Keys: the cache, and what else is needed. It keeps what it fetched.
func (m *model) open(s *state, up set, needed set) opened {
	r := &s.reader
	if r.cache != 0 && (m.is(cachesBlindly) || needed&^r.cache == 0) {
		return opened{keys: r.cache}
	}
	keys, _ := fetch(s, up)
	deadline, dead := int8(ever), set(0)
	for id := int8(1); id <= maxKeys; id++ {
		switch {
		case !keys.has(id):
		case s.deadlines[id] <= r.kek:
			dead = dead.with(id)
		case m.is(cachesFrozen):
			deadline = min(deadline, s.deadlines[id])
		default:
			deadline = min(deadline, m.deadlineFor(s, id))
		}
	}
	if keys &^= dead; dead != 0 && m.is(believesDestroyed) || keys != 0 && m.readerClock(s) >= deadline {
		return opened{destroyed: true}
	}
	if r.cache |= keys; keys != 0 && (r.deadline == 0 || deadline < r.deadline) {
		r.deadline, r.boot = deadline, s.now+m.remains(s, up, deadline)
	}
	return opened{keys: r.cache}
}

// remains is how long a node keeps the keys, or less.
func (m *model) remains(s *state, up set, deadline int8) int8 {
	remains := deadline - m.readerClock(s)
	for i, n := range s.nodes {
		if up.has(int8(i)) && n.keys != 0 && !m.is(remainsByWallClock) {
			remains = min(remains, n.expiry-s.now-m.clocks.nodes[i])
		}
	}
	return remains
}

// list is Store.Directories.
func list(s *state) *index {
	x := &index{}
	for _, e := range s.directory.entries[:s.directory.length] {
		if e.writer == 0 {
			x.keys = x.keys.with(e.sequence)
		} else {
			x.written[e.writer] = e.sequence
		}
	}
	return x
}

// needed is Directory.written: the keys under which something was acknowledged.
func (x *index) needed(s *state) (keys set) {
	for id, written := range x.written {
		if written > 0 {
			keys = keys.with(s.sealsFor[id])
		}
	}
	return keys
}

// readerSteps are Reader.Find, and a clock that is set wrong and right again.
func (m *model) readerSteps(s *state, to yield) {
	does := func(what string, n state) { to("reader", 0, what, n) }
	switch n := *s; {
	case m.reader == asFresh:
	case m.reader == withCache:
		call(s, func(n state, up set) {
			m.open(&n, up, list(&n).needed(&n))
			does("Find", n)
		})
	case s.reader.step == 0:
		n.reader.step, n.reader.must, n.reader.seen = 1, s.committed, *list(s)
		does("Find: Directories", n)
	case s.reader.step == 1:
		call(s, func(n state, up set) {
			n.reader.opened = m.open(&n, up, n.reader.seen.needed(&n))
			n.reader.step = 2
			does("Find: Keys", n)
		})
	case s.reader.step == 2:
		n.reader.found = m.find(s, &s.reader.seen, s.reader.opened)
		n.reader.step, n.reader.seen, n.reader.opened = 3, index{}, opened{}
		does("Find: Chunks", n)
	case s.reader.step == 3:
		n.broken = m.judge(s, s.reader.must, m.answer(s, s.reader.found))
		n.reader.step, n.reader.must, n.reader.found = 0, 0, found{}
		does("Find: answer", n)
	}
	if s.left.jump > 0 {
		for _, jump := range []int8{-3, 3} {
			n := *s
			n.left.jump--
			n.reader.jump = jump
			m.sweep(&n)
			does("its clock is set wrong", n)
		}
	}
	if s.reader.jump != 0 {
		n := *s
		n.reader.jump = 0
		m.sweep(&n)
		does("its clock is set right", n)
	}
}

// find is the rest of a look-up, from what it has of the directory and the keyring.
func (m *model) find(s *state, x *index, o opened) found {
	f := found{complete: true}
	if o.keys == 0 {
		purged := s.nodes[0].marked || s.nodes[1].marked
		f.complete = o.destroyed || purged && x.needed(s) == 0 // by the reader's own clock, or the nodes' marks
		return f
	}
	f.complete = (o.keys|x.keys)&s.heirs == 0
	needed := x.needed(s)
	if m.is(countsAnnounced) {
		needed = x.keys
	}
	if !m.is(trustsKeyring) && needed&^o.keys|o.keys&^x.keys != 0 {
		f.complete = false // a key is lost, or the directory
	}
	_, wraps := fetch(s, bothNodes)
	for id := int8(1); id <= maxWriters; id++ {
		if s.sealsFor[id] != 0 && o.keys.has(s.sealsFor[id]) {
			m.findOf(s, id, x.written[id], wraps.has(id), &f)
		}
	}
	return f
}

// findOf adds the frames of one writer.
func (m *model) findOf(s *state, writer, written int8, opens bool, f *found) {
	var sequences set
	for _, e := range s.chunk.entries[:s.chunk.length] {
		if e.writer != writer {
			continue
		}
		f.complete = f.complete && opens
		if sequences = sequences.with(e.sequence); !opens {
			continue
		}
		f.deadline = m.deadlineFor(s, s.sealsFor[writer])
		for event := e.from; event < e.to; event++ {
			if f.events[event]++; !m.is(keepsRepeats) {
				f.events[event] = 1
			}
		}
	}
	for sequence := int8(1); sequence <= written && !m.is(ignoresManifests); sequence++ {
		f.complete = f.complete && sequences.has(sequence)
	}
}

// answer leaves out what is due by now.
func (m *model) answer(s *state, f found) found {
	if m.readerClock(s) >= f.deadline && !m.is(noFilter) {
		f.events = [maxEvents]int8{}
	}
	return f
}
