package event

import "hash/maphash"

// keySet finds keys that one object has twice, in all objects of a message at
// once: a hash table over (object, key). Its seed is random, so nobody can
// choose keys that collide, and it grows, so that a key costs the same where
// there are two and where there are the 13,000 that fit a message. (Keys of the
// field map don't come here: a bit tells those.)
type keySet struct {
	seed    maphash.Seed
	table   []seenKey // the length is a power of two, at least twice what is used
	used    int
	names   []byte // the keys of this message, one after the other
	objects uint64 // how many objects the message has had so far
	message uint32 // entries of other messages are free places
}

type seenKey struct {
	hash     uint64
	object   uint64
	from, to uint32 // in names
	message  uint32
}

func newKeySet() keySet {
	return keySet{seed: maphash.MakeSeed(), table: make([]seenKey, 64), message: 1}
}

// reset begins a message.
func (s *keySet) reset() {
	if s.message++; s.message == 0 { // wrapped: entries of 2³² messages ago must not look new
		clear(s.table)
		s.message = 1
	}
	s.used, s.objects, s.names = 0, 0, s.names[:0]
}

// object begins an object and gives its number within the message.
func (s *keySet) object() uint64 {
	s.objects++
	return s.objects
}

// add reports whether the object has not had the key before.
func (s *keySet) add(object uint64, key []byte) bool {
	hash := maphash.Bytes(s.seed, key) ^ object*0x9e3779b97f4a7c15
	mask := uint64(len(s.table) - 1)
	i := hash & mask
	for ; s.table[i].message == s.message; i = (i + 1) & mask {
		e := &s.table[i]
		if e.hash == hash && e.object == object && string(s.names[e.from:e.to]) == string(key) {
			return false
		}
	}
	from := len(s.names)
	s.names = append(s.names, key...)
	//nolint:gosec // names are shorter than MaxSize
	s.table[i] = seenKey{hash: hash, object: object, from: uint32(from), to: uint32(len(s.names)), message: s.message}
	if s.used++; s.used*2 > len(s.table) {
		s.grow()
	}
	return true
}

func (s *keySet) grow() {
	old := s.table
	s.table = make([]seenKey, 2*len(old))
	mask := uint64(len(s.table) - 1)
	for _, e := range old {
		if e.message != s.message {
			continue
		}
		i := e.hash & mask
		for s.table[i].message == s.message {
			i = (i + 1) & mask
		}
		s.table[i] = e
	}
}
