package workload

import (
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
)

// accounts are the people who connect. Their ids lie in one string: ten
// million of them are ten million slices of it, not ten million allocations.
type accounts struct {
	ids  string
	ends []uint32 // where each id ends in ids
	rank *rand.Zipf
}

// The Zipf law of ranks: P(k) ∝ (v + k)^−s. A v above 1 flattens the head, so
// that the busiest of 20,000 accounts has about 1 % of the sessions.
const (
	zipfS = 1.1
	zipfV = 20
)

func newAccounts(style string, n int, random *rand.Rand) (accounts, error) {
	var name func(dst []byte, i int) []byte
	switch style {
	case "short8":
		offset := random.Uint64()
		name = func(dst []byte, i int) []byte { return appendShort(dst, uint64(i)+offset) }
	case "uuid":
		name = func(dst []byte, _ int) []byte { return appendUUID(dst, random) }
	case "name":
		name = appendName
	default:
		return accounts{}, errors.New(`ids must be "short8", "uuid" or "name"`)
	}
	var text strings.Builder
	ends := make([]uint32, n)
	scratch := make([]byte, 0, 64)
	for i := range ends {
		scratch = name(scratch[:0], i)
		text.Write(scratch)
		ends[i] = uint32(text.Len())
	}
	return accounts{
		ids: text.String(), ends: ends,
		rank: rand.NewZipf(random, zipfS, zipfV, uint64(n-1)),
	}, nil
}

// draw picks an account by rank.
func (a *accounts) draw() uint32 { return uint32(a.rank.Uint64()) }

func (a *accounts) id(i uint32) string {
	if i == 0 {
		return a.ids[:a.ends[0]]
	}
	return a.ids[a.ends[i-1]:a.ends[i]]
}

// appendShort spells a permutation of the 40-bit numbers: eight letters that
// look random and never meet.
func appendShort(dst []byte, n uint64) []byte {
	const mask = 1<<40 - 1
	n = n * 0x9e3779b97f4a7c15 & mask
	n ^= n >> 23
	n = n * 0xd6e8feb86659fd93 & mask
	n ^= n >> 19
	var id [8]byte
	spell(id[:], n)
	return append(dst, id[:]...)
}

// appendUUID draws a UUID of version 4 (RFC 9562).
func appendUUID(dst []byte, random *rand.Rand) []byte {
	var b [16]byte
	for i, hi, lo := 0, random.Uint64(), random.Uint64(); i < 8; i++ {
		b[i], b[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	dst = hex.AppendEncode(dst, b[:4])
	for _, part := range [][]byte{b[4:6], b[6:8], b[8:10], b[10:]} {
		dst = append(dst, '-')
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

// appendName makes "quiet-otter", and "quiet-otter-2" once all pairs are used.
func appendName(dst []byte, i int) []byte {
	dst = append(dst, moods[i%len(moods)]...)
	dst = append(dst, '-')
	dst = append(dst, animals[i/len(moods)%len(animals)]...)
	if round := i / (len(moods) * len(animals)); round > 0 {
		dst = append(dst, '-')
		dst = strconv.AppendInt(dst, int64(round)+1, 10)
	}
	return dst
}
