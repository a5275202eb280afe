package store

import (
	"encoding/binary"
	"net/netip"

	"github.com/dchest/siphash"

	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// Addresses are sharded by their group, so that a look-up by prefix visits few
// shards: the /24 of an IPv4 address, the /48 of an IPv6 address.
const (
	groupBits4 = 24
	groupBits6 = 48
)

// layout routes subjects to the shards of one epoch key. SipHash-2-4 (Aumasson
// and Bernstein 2012) under the layout key: without that key a shard's number says nothing.
type layout struct {
	k0, k1 uint64
	shards uint64
}

func layoutOf(key keyring.Public) layout {
	return layout{
		k0:     binary.LittleEndian.Uint64(key.Layout[:8]),
		k1:     binary.LittleEndian.Uint64(key.Layout[8:]),
		shards: uint64(key.Shards),
	}
}

func (l layout) shard(subject []byte) uint32 {
	shard, _ := l.account(subject)
	return shard
}

// account is an account's shard, and what it is called in mentions: other bits of the same hash.
func (l layout) account(subject []byte) (shard, name uint32) {
	hash := siphash.Hash(l.k0, l.k1, subject)
	return uint32(hash >> 32 * l.shards >> 32), uint32(hash)
}

func appendGroupOf(dst []byte, ip netip.Addr) []byte {
	if ip.Is4() {
		four := ip.As4()
		return append(dst, four[:groupBits4/8]...)
	}
	sixteen := ip.As16()
	return append(dst, sixteen[:groupBits6/8]...)
}

// shardsOf lists the shards in which the subject of q can be, each once.
func (l layout) shardsOf(q Query) (seal.View, []uint32) {
	if q.Account != "" {
		return seal.ByAccount, []uint32{l.shard([]byte(q.Account))}
	}
	groupBits := groupBits6
	if q.Prefix.Addr().Is4() {
		groupBits = groupBits4
	}
	groups := uint64(1) << max(groupBits-q.Prefix.Bits(), 0)
	var shards []uint32
	if groups >= 4*l.shards { // nearly every shard has one of them
		for s := range uint32(l.shards) {
			shards = append(shards, s)
		}
		return seal.ByAddress, shards
	}
	seen := map[uint32]bool{}
	group := appendGroupOf(nil, q.Prefix.Masked().Addr())
	for range groups {
		if s := l.shard(group); !seen[s] {
			seen[s] = true
			shards = append(shards, s)
		}
		increment(group)
	}
	return seal.ByAddress, shards
}

func increment(b []byte) {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return
		}
	}
}
