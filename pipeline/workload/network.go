package workload

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// network is the kind of access network that a session comes from.
type network uint8

const (
	lineIPv4   network = iota // a household's line, or an office that shares one address
	homeIPv6                  // a household's /64, privacy addresses inside (RFC 8981)
	cgnatIPv4                 // carrier-grade NAT with port blocks (RFC 7422)
	mobileIPv4                // the same, of a phone: the gateway changes
)

// networkRTT is the median round-trip time in milliseconds.
var networkRTT = [...]float64{lineIPv4: 18, homeIPv6: 16, cgnatIPv4: 28, mobileIPv4: 55}

// The addresses of each network. None of them is anybody's.
const (
	benchmarkNet = 198<<24 | 18<<16              // 198.18.0.0/15, RFC 2544: lines
	officeNet    = 192<<24 | 0<<16 | 2<<8        // 192.0.2.0/24, RFC 5737: offices
	campusNet    = 198<<24 | 51<<16 | 100<<8     // 198.51.100.0/24, RFC 5737: campuses
	carrierNet   = 100<<24 | 64<<16              // 100.64.0.0/11 of 100.64.0.0/10, RFC 6598
	mobileNet    = carrierNet + 1<<21            // 100.96.0.0/11, the other half
	attackNet    = 203<<24 | 0<<16 | 113<<8      // 203.0.113.0/24, RFC 5737
	homeNet      = uint64(0x2001_0db8_0000_0000) // 2001:db8::/32, RFC 3849
)

// A carrier gives an address to 64 subscribers, a block of 1,008 ports each.
// Accounts have 63 of them; the last one is the story's.
const (
	subscribersPerAddress = 63
	firstPort             = 1024
	portsPerBlock         = 1008
	gateways              = 8
)

// networks hands out addresses. Where an account sits in a network is a
// function of the account, so two never have one port block at one time.
type networks struct {
	accounts    uint64
	stride      uint64 // prime to accounts: spreads the busy accounts over the networks
	rotation    int64  // nanoseconds a privacy address lasts
	ipv6, cgnat float64
	mobile      float64 // ends of the intervals that draw compares with
}

func newNetworks(c Config) networks {
	n := networks{
		accounts: uint64(c.Accounts),
		stride:   7_368_787, // a prime; the count of accounts is a multiple of it at most once
		rotation: int64(c.Day) / 4,
		ipv6:     c.IPv6,
		cgnat:    c.IPv6 + c.CGNAT,
		mobile:   c.IPv6 + c.CGNAT + c.Mobile,
	}
	if n.accounts%n.stride == 0 {
		n.stride = 1
	}
	return n
}

func (n *networks) draw(random *rand.Rand) network {
	switch chance := random.Float64(); {
	case chance < n.ipv6:
		return homeIPv6
	case chance < n.cgnat:
		return cgnatIPv4
	case chance < n.mobile:
		return mobileIPv4
	}
	return lineIPv4
}

// attach gives the address and ports that an account has in a network at an
// instant, nanoseconds since a midnight.
func (n *networks) attach(kind network, account uint32, at int64, random *rand.Rand) (address.Address, record.Ports) {
	seat := uint64(account) * n.stride % n.accounts
	switch kind {
	case homeIPv6:
		household, host := seat/2, mix(seat<<24^uint64(at/n.rotation))
		return ipv6(homeNet|mix32(household), host), port(random)
	case cgnatIPv4:
		return behindNAT(carrierNet, seat)
	case mobileIPv4:
		gateway := random.Uint32N(gateways) << 18
		return behindNAT(mobileNet+gateway, seat)
	}
	switch place := random.Uint32N(64); {
	case place < 3:
		return ipv4(officeNet + uint32(seat%256)), port(random)
	case place < 4:
		return ipv4(campusNet + uint32(seat%16)), port(random)
	}
	return ipv4(benchmarkNet + uint32(seat/2%(1<<17))), port(random)
}

// behindNAT is the address and the port block of a subscriber.
func behindNAT(pool uint32, seat uint64) (address.Address, record.Ports) {
	host, block := seat/subscribersPerAddress, seat%subscribersPerAddress
	return ipv4(pool + uint32(host)), portBlock(block)
}

func portBlock(block uint64) record.Ports {
	first := uint16(firstPort + block*portsPerBlock)
	return record.Ports{First: first, Last: first + portsPerBlock - 1, Known: true}
}

// port draws an ephemeral port (RFC 6056).
func port(random *rand.Rand) record.Ports {
	p := uint16(49152 + random.Uint32N(16384))
	return record.Ports{First: p, Last: p, Known: true}
}

func ipv4(n uint32) address.Address {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return valid(netip.AddrFrom4(b))
}

func ipv6(prefix, host uint64) address.Address {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], prefix)
	binary.BigEndian.PutUint64(b[8:], host)
	return valid(netip.AddrFrom16(b))
}

// valid wraps an address that is one by construction.
func valid(ip netip.Addr) address.Address {
	a, err := address.From(ip)
	if err != nil {
		panic("workload: an address without a zone was refused")
	}
	return a
}

// mix is the finalizer of SplitMix64: a permutation that looks random.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// mix32 permutes 32-bit numbers, so that households stay apart within a /32.
func mix32(n uint64) uint64 {
	x := uint32(n) * 0x9e3779b1
	x ^= x >> 15
	x *= 0x85ebca77
	return uint64(x ^ x>>13)
}
