package cold

import (
	"encoding/binary"
	"math"
	"net/netip"
	"sort"

	"mayfly/retention/address"
)

// find lists the runs of groups that a subject has, and where their rows begin.
func (d *Decoder) find(of Subject) {
	l := &d.l
	d.runs = d.runs[:0]
	d.readUppers()
	first, last := 0, l.addresses
	switch {
	case of.Account != "":
		d.findAccount(of.Account)
	case of.Prefix.IsValid():
		if first, last = d.findPrefix(of.Prefix.Masked()); first == last {
			return
		}
		d.runs = append(d.runs, run{})
	default:
		d.runs = append(d.runs, run{0, l.groups})
	}
	if len(d.runs) == 0 || d.r.failed {
		d.runs = d.runs[:0]
		return
	}
	d.starts = d.sums(d.starts, &l.perAddress, last, l.groups)
	if of.Prefix.IsValid() {
		d.runs[0] = run{int(d.starts[first]), int(d.starts[last])}
	}
	d.rows = d.sums(d.rows, &l.perGroup, d.runs[len(d.runs)-1].to, l.rows)
	for i := range d.l.shared {
		d.words[i] = resize(d.words[i], d.l.shared[i].texts.n)
	}
	d.kinds = resize(d.kinds, d.l.kinds.since.n)
	if d.r.failed {
		d.runs = d.runs[:0]
	}
}

// sums gives the sums of value + 1 over what is before each of the first n values, and
// over all of them; they lead to total.
func (d *Decoder) sums(dst []uint64, c *column, n, total int) []uint64 {
	dst = resize(dst, n+1)
	d.r.read(dst[1:], c, 0)
	dst[0] = 0
	for i := 1; i <= n; i++ {
		if dst[i] >= uint64(total)-dst[i-1] {
			d.r.fail()
			break
		}
		dst[i] += dst[i-1] + 1
	}
	if n == c.n && dst[n] != uint64(total) {
		d.r.fail()
	}
	if d.r.failed {
		clear(dst)
	}
	return dst
}

// readUppers reads the upper halves of all addresses, which ascend.
func (d *Decoder) readUppers() {
	d.uppers = resize(d.uppers, d.l.addresses)
	for part, uppers := range [2][]uint64{d.uppers[:d.l.four], d.uppers[d.l.four:]} {
		if len(uppers) == 0 {
			continue
		}
		d.r.read(uppers[1:], &d.l.steps[part], 0)
		uppers[0] = d.l.firsts[part]
		for i := 1; i < len(uppers); i++ {
			uppers[i] += uppers[i-1]
		}
	}
}

// findPrefix gives the run of addresses in a prefix, from and up to.
func (d *Decoder) findPrefix(p netip.Prefix) (from, to int) {
	want := placeOf(p.Addr())
	four := d.l.four
	if want.four {
		size := uint64(1) << (32 - p.Bits())
		return sort.Search(four, func(i int) bool { return d.uppers[i] >= want.upper }),
			sort.Search(four, func(i int) bool { return d.uppers[i] >= want.upper+size })
	}
	upper := ^uint64(0) >> min(p.Bits(), 64) // the bits that may differ
	lower := ^uint64(0) >> max(p.Bits()-64, 0)
	search := func(behind func(upper, lower uint64) bool) int {
		return four + sort.Search(d.l.addresses-four, func(i int) bool {
			return behind(d.uppers[four+i], d.r.value(&d.l.lower, i))
		})
	}
	return search(func(u, l uint64) bool { return u > want.upper || u == want.upper && l >= want.lower }),
		search(func(u, l uint64) bool {
			return u > want.upper|upper || u == want.upper|upper && l > want.lower|lower
		})
}

// address makes one of them.
func (d *Decoder) address(i int) address.Address {
	upper := d.uppers[i]
	var ip netip.Addr
	if i < d.l.four {
		if upper > math.MaxUint32 {
			d.r.fail()
		}
		ip = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(upper))))
	} else {
		var sixteen [16]byte
		binary.BigEndian.PutUint64(sixteen[:8], upper)
		binary.BigEndian.PutUint64(sixteen[8:], d.r.value(&d.l.lower, i-d.l.four))
		ip = netip.AddrFrom16(sixteen)
	}
	a, err := address.From(ip)
	if err != nil || ip.Is4In6() { // which has another spelling
		d.r.fail()
	}
	return a
}

// findAccount lists the groups that have an account.
func (d *Decoder) findAccount(account string) {
	r, a := &d.r, &d.l.accounts
	text := r.find(&a.texts, account)
	if text < 0 {
		return
	}
	other, fresh, has := 0, 0, false // groups with a form of their own, new texts among them
	for g := range d.l.groups {
		if !r.get(a.same, g) {
			if r.get(a.fresh, other) {
				has = fresh == text
				fresh++
			} else {
				has = r.value(&a.old, other-fresh) == uint64(text)
			}
			other++
		}
		switch n := len(d.runs); {
		case !has:
		case n > 0 && d.runs[n-1].to == g:
			d.runs[n-1].to++
		default:
			d.runs = append(d.runs, run{g, g + 1})
		}
	}
}
