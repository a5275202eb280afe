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
