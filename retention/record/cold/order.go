package cold

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"
)

// Sort brings the addresses into order first, which are few: 4 of a hundred rows of the
// reference workload begin another. Then each row goes to those of its address, and
// those are sorted on their own. Radix sorts of all rows took 0.08 µs an event, and this 0.05;
// and who reads rows in their order no longer waits for each: weighing them took
// 0.04, and takes 0.01.

// sortKey is an address, by what mostly decides its place; or a pair.
type sortKey struct {
	key    uint64
	number uint32
}

// runKey orders the rows of an address.
type runKey struct {
	who  uint64
	time int64
	row  uint32
}

// key orders as netip.Addr.Compare does, as far as it goes: IPv4, then the upper
// halves of IPv6.
func (p *place) key() uint64 {
	if p.four {
		return p.upper
	}
	return max(p.upper, 1<<32)
}

func (p *place) compare(other *place) int {
	return cmp.Or(cmp.Compare(p.key(), other.key()), cmp.Compare(p.upper, other.upper), cmp.Compare(p.lower, other.lower))
}

func keyOf(ip netip.Addr) uint64 {
	p := placeOf(ip)
	return p.key()
}

// Sort gives the records in the order of blocks: by address, then what
// belongs to one connection side by side, by time. Accounts and sessions are in the
// order of a hash, as all that matters is that equal ones are neighbours; where hashes
// are equal and the texts are not, rows of two connections are mixed, which
// costs bytes and nothing else. Repeats of one identity are left out.
func (r *Rows) Sort() []Row {
	r.forget()
	r.sortAddresses()
	r.gatherByAddress()
	r.sorted = untouched(r.sorted, cap(r.rows))
	begin := uint32(0)
	for _, end := range r.ranks {
		r.run(r.byAddress[begin:end])
		begin = end
	}
	return r.sorted
}

// sortAddresses makes the ranks of the addresses.
func (r *Rows) sortAddresses() {
	n := len(r.addresses.all)
	r.places, r.keyed = untouched(r.places, n), untouched(r.keyed, n)
	r.scratch, r.ranks = untouched(r.scratch, n), resize(r.ranks, n)
	six := r.scratch
	for i := range uint32(n) {
		ip, _ := netip.AddrFromSlice([]byte(r.addresses.get(i)))
		p := placeOf(ip)
		r.places = append(r.places, p)
		if key := (sortKey{p.key(), i}); p.four {
			r.keyed = append(r.keyed, key)
		} else {
			six = append(six, key)
		}
	}
	four := len(r.keyed)
	r.keyed = append(r.keyed, six...)
	scratch := r.scratch[:n]
	radix(r.keyed[:four], scratch)
	radix(r.keyed[four:], scratch)
	for from := four; from < n; {
		to := from + 1
		for to < n && r.keyed[to].key == r.keyed[from].key {
			to++
		}
		if to > from+1 {
			slices.SortFunc(r.keyed[from:to], func(a, b sortKey) int { return r.places[a.number].compare(&r.places[b.number]) })
		}
		from = to
	}
	for rank, k := range r.keyed {
		r.ranks[k.number] = uint32(rank)
	}
	clear(r.keyed)
	clear(scratch)
}

// gatherByAddress lists the rows of each address, and leaves the end of each list in ranks.
func (r *Rows) gatherByAddress() {
	r.byAddress = untouched(r.byAddress, cap(r.rows))[:len(r.rows)]
	ends := make([]uint32, len(r.ranks))
	for _, address := range r.located {
		ends[r.ranks[address]]++
	}
	begin(ends)
	for i, address := range r.located {
		at := &ends[r.ranks[address]]
		r.byAddress[*at] = uint32(i)
		*at++
	}
	r.ranks = append(r.ranks[:0], ends...)
}

// begin makes of counts where what was counted begins.
func begin(counts []uint32) {
	sum := uint32(0)
	for i, n := range counts {
		counts[i], sum = sum, sum+n
	}
}

// run sorts the rows of an address.
func (r *Rows) run(rows []uint32) {
	r.runs, r.spare = r.runs[:0], resize(r.spare, len(rows))
	for _, at := range rows {
		of := &r.rows[at]
		r.runs = append(r.runs, runKey{of.who, of.time, at})
	}
	r.split(r.runs, r.spare)
	for i, k := range r.runs {
		if i > 0 && k.alike(&r.runs[i-1]) && r.rows[k.row].repeats(&r.rows[r.runs[i-1].row]) {
			continue // a repeat has the same fields, so it is next to the first
		}
		r.sorted = append(r.sorted, r.rows[k.row])
	}
}

// split sorts runs: as many as a carrier's address has, by the first bits in which their
// connections differ, until few are left, or rows of one connection, which mostly are
// in order. The scratch space is to have as many.
func (r *Rows) split(runs, scratch []runKey) {
	differ := uint64(0)
	for i := range runs {
		differ |= runs[i].who ^ runs[0].who
	}
	if len(runs) <= 12 || differ == 0 {
		r.insert(runs)
		return
	}
	width := min(bits.Len(uint(len(runs))), 8)
	shift, mask := max(bits.Len64(differ)-width, 0), uint64(1)<<width-1
	var all [1 << 8]uint32
	ends := all[:mask+1]
	for i := range runs {
		ends[runs[i].who>>shift&mask]++
	}
	begin(ends)
	for i := range runs {
		end := &ends[runs[i].who>>shift&mask]
		scratch[*end] = runs[i]
		*end++
	}
	copy(runs, scratch)
	from := uint32(0)
	for _, to := range ends {
		if to > from+1 {
			r.split(runs[from:to], scratch[from:to])
		}
		from = to
	}
}

// insert sorts runs that are few, or mostly in order: what is not goes to its place by insertion, and
// where that takes too long everything is sorted anew.
func (r *Rows) insert(runs []runKey) {
	steps := 8 * len(runs)
	for i := 1; i < len(runs); i++ {
		for j := i; j > 0 && r.order(&runs[j], &runs[j-1]) < 0; j-- {
			runs[j], runs[j-1] = runs[j-1], runs[j]
			if steps--; steps < 0 {
				slices.SortFunc(runs, func(a, b runKey) int { return r.order(&a, &b) })
				return
			}
		}
	}
}

// order compares rows of an address.
func (r *Rows) order(a, b *runKey) int {
	switch {
	case a.who != b.who:
		return cmp.Compare(a.who, b.who)
	case a.time != b.time:
		return cmp.Compare(a.time, b.time)
	}
	return r.rows[a.row].compare(&r.rows[b.row])
}

// alike reports whether what mostly orders both is the same.
func (k *runKey) alike(other *runKey) bool { return k.who == other.who && k.time == other.time }

// compare orders what has one runKey.
func (r *Row) compare(other *Row) int {
	return cmp.Or(
		cmp.Compare(r.offset, other.offset),
		cmp.Compare(r.partition, other.partition),
		cmp.Compare(r.index, other.index),
	)
}

// repeats reports whether both have one identity.
func (r *Row) repeats(other *Row) bool {
	return r.offset == other.offset && r.partition == other.partition && r.index == other.index
}

// forget erases what Sort has made.
func (r *Rows) forget() {
	clear(r.sorted)
	clear(r.places)
	clear(r.runs[:cap(r.runs)])
	clear(r.spare[:cap(r.spare)])
	r.sorted, r.places = r.sorted[:0], r.places[:0]
}

// radix sorts keys by the bytes in which they differ, the last one first. The scratch space
// is to have as many.
func radix(keys, scratch []sortKey) {
	if len(keys) == 0 {
		return
	}
	differ := uint64(0)
	for i := range keys {
		differ |= keys[i].key ^ keys[0].key
	}
	from, to := keys, scratch[:len(keys)]
	for shift := 0; shift < 64; shift += 8 {
		if byte(differ>>shift) != 0 {
			scatter(from, to, shift)
			from, to = to, from
		}
	}
	if &from[0] != &keys[0] {
		copy(keys, from)
	}
}

// scatter is a pass of a radix sort.
func scatter(from, to []sortKey, shift int) {
	var starts [256]uint32
	for i := range from {
		starts[byte(from[i].key>>shift)]++
	}
	begin(starts[:])
	for i := range from {
		start := &starts[byte(from[i].key>>shift)]
		to[*start] = from[i]
		*start++
	}
}
