package model

// violation is an invariant that does not hold; 0: all do.
type violation int8

const (
	silentLoss violation = iota + 1
	repeated
	readable
	lyingReceipt
	falseAlarm
	stuck
	blindWriter
	forgotten
	lost
	remains
	unwritten
	contradiction
	answered // none, see seeksAnswer
)

func (v violation) String() string {
	return [...]string{
		"", "a committed event is missing and the look-up says complete", "a look-up gives an event twice",
		"something is readable past its deadline plus grace", "a keyring node holds the epoch after its purge's receipt",
		"nothing went wrong, yet a look-up says incomplete", "ingest waits for what can't come",
		"ingest seals what no reader can open", "what was stored is missing, not stored again, and the look-up says complete",
		"what the servers had safely is lost",
		"something of a purged epoch is stored after its end", "a key was announced, and no log says that it was purged",
		"one log says two things about an epoch's end", "everything is committed, found, and the look-up says complete",
	}[v]
}

// judge judges an answer given now, when the first must events were committed before its question.
func (m *model) judge(s *state, must int8, f found) violation {
	inside := s.now < min(s.window, s.term)-grace && s.reader.jump == 0
	for event, times := range f.events {
		switch {
		case times > 1:
			return repeated
		case times > 0 && s.now >= s.window+grace:
			return readable
		case times == 0 && f.complete && inside && int8(event) < must:
			return silentLoss
		}
	}
	if m.is(seeksAnswer) && inside && must == m.events && f.complete {
		return answered
	}
	return 0
}

// check judges a state: what look-ups by this reader and by a fresh one would answer, and the rest.
func (m *model) check(s *state) violation {
	fresh := *s
	fresh.reader.cache, fresh.reader.deadline, fresh.reader.boot = 0, 0, 0
	x := list(s)
	for _, asked := range []state{*s, fresh} {
		over := asked.reader.cache == 0 && m.over(s, x)
		f := m.answer(&asked, m.find(&asked, x, m.open(&asked, bothNodes, x.needed(s))))
		if v := m.judge(s, s.committed, f); v != 0 {
			return v
		}
		if f.complete && m.judge(s, s.stored, f) == silentLoss && s.left.evict == m.faults.evict {
			return forgotten
		}
		if !f.complete && (m.quiet(s) || over || m.madeGood(s)) {
			return falseAlarm
		}
	}
	keys, _ := fetch(s, bothNodes)
	switch {
	case s.broken != 0:
		return s.broken
	case s.now >= s.window+grace && (keys != 0 || s.reader.cache != 0):
		return readable
	case s.receipt && keys != 0 && (s.left.restart == m.faults.restart || m.wardens == 1):
		return lyingReceipt
	}
	for i := range s.ingesters {
		if s.ingesters[i].blind {
			return blindWriter
		}
		if m.stuck(s, i) {
			return stuck
		}
	}
	return 0
}

// quiet: no fault has happened, no key is on its way, and none is due soon.
func (m *model) quiet(s *state) bool {
	left := s.left
	left.revoke, left.expel = m.faults.revoke, m.faults.expel
	keys, _ := fetch(s, bothNodes)
	return left == m.faults && m.clocks.sane() && keys != 0 && s.now < s.window-grace &&
		s.wardens[0].step == idle && s.wardens[1].step == idle
}

// over: the epoch was purged, be it by a shorter window than that of now, and every node was told.
func (m *model) over(s *state, x *index) bool {
	keys, _ := fetch(s, bothNodes)
	return s.receipt && keys == 0 && !s.forgetful && x.needed(s) == 0 && m.clocks.sane() && s.reader.jump == 0
}

// sane: all clocks are as near to the true time as is assumed.
func (c clocks) sane() bool {
	for _, d := range []int8{c.nodes[0], c.nodes[1], c.wardens[0], c.wardens[1], c.ingesters[0], c.ingesters[1], c.reader, c.redis} {
		if d < -grace || d > grace {
			return false
		}
	}
	return true
}

// stuck: an epoch is over for every clock, and an ingester that seals for it has no step to take.
func (m *model) stuck(s *state, i int) bool {
	g := s.ingesters[i]
	if s.now < s.window+grace || g.step != sealing && g.step != wrapping || g.revoked || s.owner != int8(i) {
		return false
	}
	able := false
	m.sealSteps(s, i, func(string, state) { able = true })
	return !able
}
