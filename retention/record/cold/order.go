package cold

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"mayfly/retention/record"
)

// sortKey is a row and what mostly decides its place, so that sorting seldom looks at the row.
type sortKey struct {
	upper, lower     uint64 // of the address
	account, session uint64 // the first eight bytes
	row              *record.Record
}

func sortKeyOf(r *record.Record) sortKey {
	ip := r.Address.Reveal()
	k := sortKey{upper: keyOf(ip), account: firstEight(r.Account), session: firstEight(r.Session), row: r}
	if !ip.Is4() {
		sixteen := ip.As16()
		k.lower = binary.BigEndian.Uint64(sixteen[8:])
	}
	return k
}

func firstEight(s string) uint64 {
	if len(s) >= 8 {
		return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 |
			uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
	}
	var b [8]byte
	copy(b[:], s)
	return binary.BigEndian.Uint64(b[:])
}

// Compare is the order of records in blocks: by address, then what belongs to one
// connection side by side.
func Compare(a, b *record.Record) int {
	x, y := sortKeyOf(a), sortKeyOf(b)
	if c := a.Address.Reveal().Compare(b.Address.Reveal()); c != 0 {
		return c
	}
	return compareKeys(&x, &y)
}

// compareKeys orders records whose addresses are of one family. That it is total
// makes the same records the same blocks, in whatever order they were read.
func compareKeys(x, y *sortKey) int {
	switch {
	case x.upper != y.upper:
		return cmp.Compare(x.upper, y.upper)
	case x.lower != y.lower:
		return cmp.Compare(x.lower, y.lower)
	case x.account != y.account:
		return cmp.Compare(x.account, y.account)
	case x.session != y.session:
		return cmp.Compare(x.session, y.session)
	}
	a, b := x.row, y.row
	if c := a.Address.Reveal().Compare(b.Address.Reveal()); c != 0 {
		return c // ::/32 shares its upper key
	}
	if c := cmp.Compare(a.Account, b.Account); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Session, b.Session); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Time, b.Time); c != 0 {
		return c
	}
	return compareIDs(&a.ID, &b.ID)
}

func compareIDs(a, b *record.ID) int {
	if c := cmp.Compare(a.Offset, b.Offset); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Partition, b.Partition); c != 0 {
		return c
	}
	if c := cmp.Compare(a.Index, b.Index); c != 0 {
		return c
	}
	return bytes.Compare(a.Topic[:], b.Topic[:])
}

// Sorter sorts records; it keeps scratch space between calls.
type Sorter struct{ keys, scratch []sortKey }

// Sort brings rows into the order of Compare and drops repeats of one identity, by
// a radix sort of the first bytes of the address.
func (s *Sorter) Sort(rows []*record.Record) []*record.Record {
	n := len(rows)
	s.keys, s.scratch = slices.Grow(s.keys[:0], n)[:n], slices.Grow(s.scratch[:0], n)[:n]
	for i, r := range rows {
		s.keys[i] = sortKeyOf(r)
	}
	s.radix()
	kept := rows[:0]
	for from := 0; from < n; {
		to := from + 1
		for to < n && s.keys[to].upper == s.keys[from].upper {
			to++
		}
		run := s.keys[from:to]
		slices.SortFunc(run, func(a, b sortKey) int { return compareKeys(&a, &b) })
		for i, k := range run {
			if i == 0 || k.row.ID != run[i-1].row.ID { // a repeat has the same fields, so it is next to the first
				kept = append(kept, k.row)
			}
		}
		from = to
	}
	clear(s.keys) // no record is to linger here
	clear(s.scratch)
	return kept
}

// keyOf orders as netip.Addr.Compare does, as far as it goes: IPv4, then the upper
// halves of IPv6.
func keyOf(ip netip.Addr) uint64 {
	if ip.Is4() {
		four := ip.As4()
		return uint64(binary.BigEndian.Uint32(four[:]))
	}
	sixteen := ip.As16()
	return max(binary.BigEndian.Uint64(sixteen[:8]), 1<<32)
}

func (s *Sorter) radix() {
	var differ uint64
	for i := range s.keys {
		differ |= s.keys[i].upper ^ s.keys[0].upper
	}
	for shift := 0; shift < 64; shift += 8 {
		if differ>>shift&0xff == 0 {
			continue
		}
		var starts [257]int
		for i := range s.keys {
			starts[s.keys[i].upper>>shift&0xff+1]++
		}
		for i := 1; i < len(starts); i++ {
			starts[i] += starts[i-1]
		}
		for _, k := range s.keys {
			at := &starts[k.upper>>shift&0xff]
			s.scratch[*at] = k
			*at++
		}
		s.keys, s.scratch = s.scratch, s.keys
	}
}
