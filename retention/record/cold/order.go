package cold

import (
	"cmp"
	"net/netip"
	"slices"
)

// sortKey is a row, by what mostly decides its place.
type sortKey struct {
	key uint64 // of the address
	who uint16 // what the hashes of account and session begin with
	row uint32
}

// runKey orders rows whose sortKey is the same, so that sorting seldom looks at them.
type runKey struct {
	lower, who uint64
	time       int64
	row        uint32
}

// key orders as netip.Addr.Compare does, as far as it goes: IPv4, then the upper
// halves of IPv6.
func (r *row) key() uint64 {
	if r.four {
		return r.upper
	}
	return max(r.upper, 1<<32)
}

func (r *row) sortKey(i int) sortKey {
	return sortKey{key: r.key(), who: uint16(r.who>>56<<8 | r.who>>24&0xff), row: uint32(i)}
}

func keyOf(ip netip.Addr) uint64 {
	r := row{}
	r.locate(ip)
	return r.key()
}

// Sort gives the places of the records in the order of blocks: by address, then what
// belongs to one connection side by side, by time. Accounts and sessions are in the
// order of a hash, as all that matters is that equal ones are neighbours; where hashes
// are equal and the texts are not, rows of two connections are mixed, which
// costs bytes and nothing else. Repeats of one identity are left out.
func (r *Rows) Sort() []uint32 {
	r.keys, r.order = untouched(r.keys, cap(r.rows)), untouched(r.order, cap(r.rows))
	r.sort = untouched(r.sort, cap(r.rows))
	six := r.sort[:0]
	for i := range r.rows {
		if r.rows[i].four {
			r.keys = append(r.keys, r.rows[i].sortKey(i))
		} else {
			six = append(six, r.rows[i].sortKey(i))
		}
	}
	four := len(r.keys)
	r.keys = append(r.keys, six...)
	scratch := r.sort[:len(r.keys)]
	radix(r.keys[:four], scratch)
	radix(r.keys[four:], scratch)
	for from := 0; from < len(r.keys); {
		to := from + 1
		for to < len(r.keys) && r.keys[to].key == r.keys[from].key {
			to++
		}
		r.run(r.keys[from:to])
		from = to
	}
	clear(r.keys)
	clear(scratch)
	return r.order
}

// run appends rows of one key to the order.
func (r *Rows) run(keys []sortKey) {
	r.runs = r.runs[:0]
	for _, k := range keys {
		of := &r.rows[k.row]
		r.runs = append(r.runs, runKey{of.lower, of.who, of.time, k.row})
	}
	crowd := keys[0].key == 1<<32 // ::/32, and the /64 behind it
	order := func(a, b runKey) int {
		switch {
		case crowd && r.rows[a.row].upper != r.rows[b.row].upper:
			return cmp.Compare(r.rows[a.row].upper, r.rows[b.row].upper)
		case a.lower != b.lower:
			return cmp.Compare(a.lower, b.lower)
		case a.who != b.who:
			return cmp.Compare(a.who, b.who)
		case a.time != b.time:
			return cmp.Compare(a.time, b.time)
		}
		return r.rows[a.row].compare(&r.rows[b.row])
	}
	sortMostly(r.runs, order)
	for i, k := range r.runs {
		if i > 0 && k.alike(&r.runs[i-1]) && r.rows[k.row].repeats(&r.rows[r.runs[i-1].row]) {
			continue // a repeat has the same fields, so it is next to the first
		}
		r.order = append(r.order, k.row)
	}
}

// alike reports whether what mostly orders both is the same.
func (k *runKey) alike(other *runKey) bool {
	return k.lower == other.lower && k.who == other.who && k.time == other.time
}

// sortMostly sorts what mostly is in order: what is not goes to its place by insertion, and
// where that takes too long everything is sorted anew.
func sortMostly(runs []runKey, order func(a, b runKey) int) {
	steps := 8 * len(runs)
	for i := 1; i < len(runs); i++ {
		for j := i; j > 0 && order(runs[j], runs[j-1]) < 0; j-- {
			runs[j], runs[j-1] = runs[j-1], runs[j]
			if steps--; steps < 0 {
				slices.SortFunc(runs, order)
				return
			}
		}
	}
}

// compare orders what has one runKey.
func (r *row) compare(other *row) int {
	return cmp.Or(
		cmp.Compare(r.offset, other.offset),
		cmp.Compare(r.partition, other.partition),
		cmp.Compare(r.index, other.index),
	)
}

// repeats reports whether both have one identity.
func (r *row) repeats(other *row) bool {
	return r.offset == other.offset && r.partition == other.partition && r.index == other.index
}

// radix sorts keys by the bytes in which they differ, the last one first. The scratch space
// is to have as many.
func radix(keys, scratch []sortKey) {
	if len(keys) == 0 {
		return
	}
	var differ sortKey
	for i := range keys {
		differ.key |= keys[i].key ^ keys[0].key
		differ.who |= keys[i].who ^ keys[0].who
	}
	from, to := keys, scratch[:len(keys)]
	for at := range digits {
		if differ.digit(at) != 0 {
			scatter(from, to, at)
			from, to = to, from
		}
	}
	if &from[0] != &keys[0] {
		copy(keys, from)
	}
}

const digits = 2 + 8

// digit is a byte of who, or of key.
func (k *sortKey) digit(at int) byte {
	if at < 2 {
		return byte(k.who >> (8 * at))
	}
	return byte(k.key >> (8 * (at - 2)))
}

// scatter is a pass of a radix sort.
func scatter(from, to []sortKey, at int) {
	var starts [256]int
	for i := range from {
		starts[from[i].digit(at)]++
	}
	sum := 0
	for i, n := range starts {
		starts[i], sum = sum, sum+n
	}
	for i := range from {
		start := &starts[from[i].digit(at)]
		to[*start] = from[i]
		*start++
	}
}
