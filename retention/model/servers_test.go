package model

// push appends a write; false: the bound is reached.
func (j *journal) push(e entry) bool {
	if j.length == maxEntries {
		return false
	}
	j.entries[j.length] = e
	j.length++
	return true
}

// cut leaves the first length writes.
func (j *journal) cut(length int8) {
	clear(j.entries[length:])
	j.length, j.safe = length, min(j.safe, length)
}

// serverSteps are what befalls servers and policies.
func (m *model) serverSteps(s *state, to yield) {
	if s.left.failover > 0 {
		for chunk := s.chunk.safe; chunk <= s.chunk.length; chunk++ {
			for directory := s.directory.safe; directory <= s.directory.length; directory++ {
				n := *s
				n.left.failover--
				n.identity++
				n.chunk.cut(chunk)
				n.directory.cut(directory)
				to("redis", 0, "failover", n)
			}
		}
	}
	if s.left.swap > 0 {
		for chunk := s.chunk.safe; chunk <= s.chunk.length; chunk++ {
			n := *s
			n.left.swap--
			n.identity++
			n.chunk.cut(chunk)
			to("redis", 0, "failover of the chunk's server", n)
		}
	}
	if s.left.evict > 0 {
		n := *s
		n.left.evict--
		n.chunk = journal{}
		to("redis", 0, "evicts the chunk", n)
		n.chunk, n.directory = s.chunk, journal{}
		to("redis", 0, "evicts the directory", n)
	}
	for i := range s.nodes {
		if s.left.restart > 0 {
			n := *s
			n.left.restart--
			n.nodes[i], n.forgetful = node{}, m.faults.widen > 0
			to("keyring node", i, "restart", n)
		}
	}
	if s.left.narrow > 0 && s.now <= narrow {
		n := *s
		n.left.narrow--
		n.window, n.term = narrow, narrow
		n.restartAll()
		to("policy", 0, "a shorter window, and everybody restarts", n)
	}
	if s.left.widen > 0 && s.window == narrow {
		n := *s
		n.left.widen--
		n.window = wide
		n.restartAll()
		to("policy", 0, "the longer window again, and everybody restarts", n)
	}
}

func (s *state) restartAll() {
	s.owner = nobody
	s.ingesters, s.wardens, s.reader = [2]ingester{}, [2]warden{}, reader{kek: s.reader.kek}
}

// kafkaSteps give and take the partition.
func (m *model) kafkaSteps(s *state, i int, to yield) {
	g := s.ingesters[i]
	twin := i == 1 && g == s.ingesters[0] && m.clocks.ingesters[0] == m.clocks.ingesters[1]
	if s.owner == nobody && g.step == away && !twin {
		n := *s
		n.owner = int8(i)
		g.step, g.next, g.aged, g.identity = gathering, s.committed, s.committed, s.identity
		n.ingesters[i] = g
		to("ingester", i, "Assigned", n)
	}
	if s.owner == int8(i) && s.left.revoke > 0 && !g.revoked {
		n := *s
		n.left.revoke--
		n.ingesters[i].revoked = true
		to("ingester", i, "Revoked: finish", n)
	}
	if s.owner == int8(i) && s.left.expel > 0 {
		n := *s
		n.left.expel--
		n.owner = nobody
		to("ingester", i, "is expelled from its group unawares", n)
	}
	if s.ingesters[i].step != away && s.left.crash > 0 {
		n := *s
		n.left.crash--
		m.leave(&n, i)
		n.ingesters[i] = ingester{}
		to("ingester", i, "crash", n)
	}
}

// leave ends an ingester's generation; its writer stays.
func (m *model) leave(s *state, i int) {
	if s.owner == int8(i) {
		s.owner = nobody
	}
	g := s.ingesters[i]
	s.ingesters[i] = ingester{
		writer: g.writer, sequence: g.sequence, pending: g.pending, old: g.old, base: g.base, disowned: g.disowned, lost: g.lost,
	}
}
