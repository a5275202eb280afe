package cold

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"mayfly/retention/address"
)

// Place is where an account was seen: an IPv4 address, or an IPv6 /64, in which a
// household's addresses are.
type Place struct {
	Fingerprint uint32 // of the account, a keyed hash
	six         bool
	bits        uint64 // the address, or the upper half of it
}

// PlaceOf is an address as a place of the account with a fingerprint.
func PlaceOf(fingerprint uint32, a address.Address) Place {
	ip := a.Reveal()
	sixteen := ip.As16()
	if ip.Is4() {
		return Place{fingerprint, false, uint64(binary.BigEndian.Uint32(sixteen[12:]))}
	}
	return Place{fingerprint, true, binary.BigEndian.Uint64(sixteen[:8])}
}

// Prefix holds the addresses of the place.
func (p Place) Prefix() netip.Prefix {
	var sixteen [16]byte
	if p.six {
		binary.BigEndian.PutUint64(sixteen[:8], p.bits)
		return netip.PrefixFrom(netip.AddrFrom16(sixteen), 64)
	}
	binary.BigEndian.PutUint32(sixteen[:4], uint32(p.bits))
	return netip.PrefixFrom(netip.AddrFrom4([4]byte(sixteen[:4])), 32)
}

// ComparePlaces is the order of places in an index: by fingerprint.
func ComparePlaces(a, b Place) int {
	if c := cmp.Compare(a.Fingerprint, b.Fingerprint); c != 0 {
		return c
	}
	if a.six != b.six {
		if b.six {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.bits, b.bits)
}

// AppendAccounts encodes places, 1 to MaxRows of them in the order of ComparePlaces and
// none twice, after dst: the fingerprints as differences, the places of each less
// one, a bit per place, 1 for IPv6, and the two kinds of places.
func AppendAccounts(dst []byte, places []Place) []byte {
	w := bitWriter{out: append(dst, formatVersion)}
	var steps, counts, four, six []uint64
	for i, p := range places {
		switch {
		case i == 0:
			steps, counts = append(steps, uint64(p.Fingerprint)), append(counts, 0)
		case p.Fingerprint == places[i-1].Fingerprint:
			counts[len(counts)-1]++
		default:
			steps = append(steps, uint64(p.Fingerprint-places[i-1].Fingerprint-1))
			counts = append(counts, 0)
		}
	}
	w.number(uint64(len(places)))
	w.number(uint64(len(counts)))
	w.number(steps[0])
	w.numbers(steps[1:])
	w.numbers(counts)
	for _, p := range places {
		w.flag(p.six)
		if p.six {
			six = append(six, p.bits)
		} else {
			four = append(four, p.bits)
		}
	}
	w.numbers(four)
	w.numbers(six)
	return w.finish()
}

// DecodeAccounts appends the places in payload that keep accepts to dst.
func DecodeAccounts(dst []Place, payload []byte, keep func(fingerprint uint32) bool) ([]Place, error) {
	if len(payload) == 0 || payload[0] != formatVersion {
		return dst, ErrFormat
	}
	r := bitReader{rest: payload[1:]}
	n := r.count(MaxRows)
	accounts := r.count(n)
	if r.failed || accounts == 0 {
		return dst, ErrFormat
	}
	fingerprint := r.number()
	steps, counts := r.numbers(nil, accounts-1), r.numbers(nil, accounts)
	places := make([]Place, 0, n)
	for i, more := range counts {
		if i > 0 {
			fingerprint += steps[i-1] + 1
		}
		if fingerprint > 1<<32-1 || more >= uint64(n-len(places)) {
			return dst, ErrFormat
		}
		for range more + 1 {
			places = append(places, Place{Fingerprint: uint32(fingerprint)})
		}
	}
	if len(places) != n {
		return dst, ErrFormat
	}
	sixes := 0
	for i := range places {
		if places[i].six = r.flag(); places[i].six {
			sixes++
		}
	}
	four, six := r.numbers(nil, n-sixes), r.numbers(nil, sixes)
	if !r.finish() || len(four) > 0 && slices.Max(four) > 1<<32-1 {
		return dst, ErrFormat
	}
	for i := range places {
		from := &four
		if places[i].six {
			from = &six
		}
		places[i].bits, *from = (*from)[0], (*from)[1:]
		if keep(places[i].Fingerprint) {
			dst = append(dst, places[i])
		}
	}
	return dst, nil
}
