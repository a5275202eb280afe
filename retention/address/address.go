// Package address holds the one type in which an IP address travels through
// Mayfly. It prints itself as "[address]" wherever Go would print it (fmt,
// JSON, zap, panics); Reveal is the single way to the address itself, so that
// every place that looks at one can be found by name.
package address

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Redacted is what an address prints as.
const Redacted = "[address]"

// The errors of this package never contain the text that was refused.
var (
	ErrSyntax = errors.New("not an IPv4 or IPv6 address")
	ErrZone   = errors.New("an IPv6 zone names an interface, not a host on the network")
)

// Address is an IPv4 or IPv6 address in its one spelling: an IPv4-mapped IPv6
// address (RFC 4291 § 2.5.5.2) is the IPv4 address. The zero value is no address.
// Addresses compare with ==.
type Address struct{ ip netip.Addr }

// Parse reads an IPv4 or IPv6 address.
func Parse(s string) (Address, error) {
	if len(s) > 64 {
		return Address{}, ErrSyntax
	}
	ip, ok := parse6(s)
	if !ok {
		var err error
		if ip, err = netip.ParseAddr(s); err != nil {
			return Address{}, ErrSyntax
		}
	}
	return From(ip)
}

// From takes an address that is parsed already.
func From(ip netip.Addr) (Address, error) {
	switch {
	case !ip.IsValid():
		return Address{}, ErrSyntax
	case ip.Zone() != "":
		return Address{}, ErrZone
	}
	return Address{ip.Unmap()}, nil
}

// Reveal gives the address itself.
func (a Address) Reveal() netip.Addr { return a.ip }

// IsValid reports whether a is an address.
func (a Address) IsValid() bool { return a.ip.IsValid() }

// String is Redacted.
func (a Address) String() string { return Redacted }

// GoString is Redacted.
func (a Address) GoString() string { return Redacted }

// Format writes Redacted for every verb.
func (a Address) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// MarshalText is Redacted, and with it JSON and YAML.
func (a Address) MarshalText() ([]byte, error) { return []byte(Redacted), nil }
