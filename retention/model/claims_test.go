package model

// disown is replaced, and Writer.Disown: what was stored may be lost up to an event,
// and is claimed by a writer that is no more.
func (m *model) disown(g *ingester, reached int8) {
	if g.lost = max(g.lost, reached); m.is(forgetsLoss) {
		g.lost = reached
	}
	w := withdrawal{g.writer, g.base}
	if m.is(withdrawsAll) {
		w.keeps = 0
	}
	g.drop()
	g.pending = false
	switch {
	case w.writer == 0:
	case g.disowned[0] == withdrawal{}:
		g.disowned[0] = w
	default:
		g.disowned[1] = w
	}
}

// drop forgets a writer.
func (g *ingester) drop() { g.writer, g.sequence, g.old, g.reckoned, g.base = 0, 0, 0, 0, 0 }

// makeGood is Writer.Withdraw once all that may be lost is stored and committed anew.
func (m *model) makeGood(s *state, i int) {
	g := &s.ingesters[i]
	if s.committed < g.lost && !m.is(withdrawsEarly) {
		return
	}
	for _, w := range g.disowned {
		if w.writer != 0 && !m.is(neverWithdraws) && !s.directory.push(entry{writer: w.writer, sequence: w.keeps}) {
			return
		}
	}
	g.disowned, g.lost = [2]withdrawal{}, 0
}

// madeGood: what failovers of the chunk's server have lost is stored again, and nothing
// else went wrong.
func (m *model) madeGood(s *state) bool {
	g, left := &s.ingesters[0], s.left
	left.swap = m.faults.swap
	return m.faults.swap > 0 && left == m.faults && s.committed == m.events && g.step == gathering &&
		g.identity == s.identity && g.disowned == [2]withdrawal{}
}
