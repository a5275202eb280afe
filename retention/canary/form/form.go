// Package form draws connections that look like any other: an account in the
// shape of the operator's own ids, an address from ranges that its customers
// have, a port. The canaries and the auditor's planted connections are drawn
// here. It is pure; retention/canary, the auditor's commands and tests import it.
//
// The invariant: what is drawn depends on the randomness alone that the caller
// gives, so that who has the key or the seed can draw it again, and nobody else.
package form

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"

	"mayfly/retention/address"
)

// Form is what drawn connections look like.
type Form struct {
	Accounts Picture
	Ranges   []netip.Prefix
}

// New reads a picture and ranges. The error names neither setting.
func New(picture string, ranges []string) (Form, error) {
	accounts, err := ParsePicture(picture)
	if err != nil {
		return Form{}, err
	}
	f := Form{Accounts: accounts}
	if len(ranges) == 0 {
		return Form{}, errors.New("at least one range is needed, such as 192.0.2.0/24")
	}
	for i, text := range ranges {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix.Addr().Is4In6() || prefix != prefix.Masked() {
			return Form{}, fmt.Errorf("range %d is not an IPv4 or IPv6 network such as 192.0.2.0/24 or 2001:db8::/48", i+1)
		}
		f.Ranges = append(f.Ranges, prefix)
	}
	return f, nil
}

// Bits is how many bits of randomness a place takes, at least: how unlikely it is
// to be guessed.
func (f Form) Bits() float64 {
	least := math.Inf(1)
	for _, prefix := range f.Ranges {
		least = min(least, float64(prefix.Addr().BitLen()-prefix.Bits()))
	}
	return least + math.Log2(float64(lastPort-firstPort+1))
}

// placeBytes is the randomness that Place uses.
const placeBytes = 24

// Source ports as clients have them.
const (
	firstPort = 1024
	lastPort  = 65535
)

// Place draws an address and a source port from 24 random bytes: an address of
// its range other than the first and, in IPv4, the last, which no customer has.
func (f Form) Place(random [placeBytes]byte) (address.Address, uint16) {
	number := func(b []byte, below int64) int64 {
		return new(big.Int).Mod(new(big.Int).SetBytes(b), big.NewInt(below)).Int64()
	}
	prefix := f.Ranges[number(random[:4], int64(len(f.Ranges)))]
	port := uint16(firstPort + number(random[4:8], lastPort-firstPort+1))
	host := new(big.Int).SetBytes(random[8:])
	size := new(big.Int).Lsh(big.NewInt(1), uint(prefix.Addr().BitLen()-prefix.Bits()))
	if size.Cmp(big.NewInt(4)) >= 0 {
		host.Mod(host, new(big.Int).Sub(size, big.NewInt(2)))
		host.Add(host, big.NewInt(1))
	} else {
		host.Mod(host, size)
	}
	bytes := prefix.Addr().AsSlice()
	new(big.Int).Or(new(big.Int).SetBytes(bytes), host).FillBytes(bytes)
	ip, _ := netip.AddrFromSlice(bytes)
	drawn, err := address.From(ip)
	if err != nil {
		panic("drawing an address: " + err.Error()) // New has checked the range
	}
	return drawn, port
}

// Contains reports whether an address is in one of the ranges.
func (f Form) Contains(ip netip.Addr) bool {
	for _, prefix := range f.Ranges {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}
