package cold

import (
	"cmp"
)

// Pair says where an account is: the key is its name, a keyed hash, and the value the
// number of a shard, or of a block in one. Two accounts with one name cost a reader a
// look at a place that has nothing.
type Pair struct{ Key, Value uint32 }

// ComparePairs is the order of pairs.
func ComparePairs(a, b Pair) int {
	if a.Key != b.Key {
		return cmp.Compare(a.Key, b.Key)
	}
	return cmp.Compare(a.Value, b.Value)
}

// PairSorter sorts pairs; it keeps scratch space between calls.
type PairSorter struct{ keys, scratch []sortKey }

// Sort brings pairs into the order of ComparePairs, and drops repeats.
func (s *PairSorter) Sort(pairs []Pair) []Pair {
	s.keys, s.scratch = resize(s.keys, len(pairs)), resize(s.scratch, len(pairs))
	for i, p := range pairs {
		s.keys[i].key = uint64(p.Key)<<32 | uint64(p.Value)
	}
	radix(s.keys, s.scratch)
	kept := pairs[:0]
	for i, k := range s.keys {
		if i == 0 || k.key != s.keys[i-1].key {
			kept = append(kept, Pair{uint32(k.key >> 32), uint32(k.key)})
		}
	}
	clear(s.keys)
	clear(s.scratch)
	return kept
}

// AppendPairs encodes pairs, 1 to MaxRows of them in the order of ComparePairs and
// none twice, after dst: the number of pairs and of keys, the keys as differences, the
// pairs of each key less one, the first value of each key, and the other values as
// differences.
func (e *Encoder) AppendPairs(dst []byte, pairs []Pair) []byte {
	w := bitWriter{out: append(dst, formatVersion)}
	keys, counts, firsts, steps := e.column[:0], e.more[:0], e.sizes[:0], e.distinct[:0]
	for i, p := range pairs {
		switch {
		case i > 0 && p.Key == pairs[i-1].Key:
			counts[len(counts)-1]++
			steps = append(steps, uint64(p.Value-pairs[i-1].Value-1))
			continue
		case i > 0:
			keys = append(keys, uint64(p.Key-pairs[i-1].Key-1))
		}
		counts, firsts = append(counts, 0), append(firsts, uint64(p.Value))
	}
	w.number(uint64(len(pairs)))
	w.number(uint64(len(counts)))
	w.number(uint64(pairs[0].Key))
	w.numbers(keys)
	w.numbers(counts)
	w.numbers(firsts)
	w.numbers(steps)
	e.column, e.more, e.sizes, e.distinct = keys, counts, firsts, steps
	return w.finish()
}

// EachPair calls visit with the pairs of a payload of AppendPairs, in their order.
func EachPair(payload []byte, visit func(Pair)) error {
	if len(payload) == 0 || payload[0] != formatVersion {
		return ErrFormat
	}
	r := bitReader{in: payload[1:]}
	n := r.count(MaxRows)
	distinct := r.count(n)
	if r.failed || distinct == 0 {
		return ErrFormat
	}
	key := r.number()
	keys, counts := r.numbers(nil, distinct-1), r.numbers(nil, distinct)
	firsts, steps := r.numbers(nil, distinct), r.numbers(nil, n-distinct)
	if !r.finish() {
		return ErrFormat
	}
	for i, more := range counts {
		if i > 0 {
			key += keys[i-1] + 1
		}
		if key > 1<<32-1 || more > uint64(len(steps)) {
			return ErrFormat
		}
		value := firsts[i]
		visit(Pair{uint32(key), uint32(value)})
		for _, step := range steps[:more] {
			value += step + 1
			visit(Pair{uint32(key), uint32(value)})
		}
		steps = steps[more:]
	}
	if len(steps) > 0 {
		return ErrFormat
	}
	return nil
}
