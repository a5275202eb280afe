package address

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Bytes of eight characters at once.
const (
	ones   = 0x0101010101010101
	uppers = 0x80 * ones
)

// parse6 reads an IPv6 address of hexadecimal groups; ok is false for every other
// text, be it an address or not. A group is found, checked and converted as one
// word: 50 ns an address instead of the 80 of netip.ParseAddr, which is asked
// about the rest and is what a test and a fuzz target compare with.
func parse6(s string) (ip netip.Addr, ok bool) {
	const longest = len("0000:0000:0000:0000:0000:0000:0000:0000")
	if len(s) < 2 || len(s) > longest || len(s) > 3 && (s[1] == '.' || s[2] == '.' || s[3] == '.') {
		return ip, false
	}
	var text [longest + 9]byte // eight can be loaded wherever a group begins
	copy(text[:], s)
	text[len(s)] = ':' // ends the last group, too
	var sixteen [16]byte
	at, gap, i := 0, -1, 0
	if text[0] == ':' {
		if text[1] != ':' {
			return ip, false
		}
		gap, i = 0, 2
	}
	for i < len(s) {
		word, length, ok := group(binary.LittleEndian.Uint64(text[i:]))
		if !ok || at == len(sixteen) {
			return ip, false
		}
		binary.BigEndian.PutUint16(sixteen[at:], word)
		at += 2
		if i += length; i == len(s) {
			break
		}
		if i++; i == len(s) { // a colon at the end
			return ip, false
		}
		if text[i] == ':' {
			if gap >= 0 {
				return ip, false
			}
			gap = at
			i++
		}
	}
	switch {
	case gap < 0 && at < len(sixteen), gap >= 0 && at == len(sixteen): // a gap is at least one group
		return ip, false
	case gap >= 0:
		behind := at - gap
		copy(sixteen[len(sixteen)-behind:], sixteen[gap:at])
		clear(sixteen[gap : len(sixteen)-behind])
	}
	return netip.AddrFrom16(sixteen), true
}

// group reads the one to four hexadecimal digits before the first colon of text,
// whose lowest byte is its first.
func group(text uint64) (word uint16, length int, ok bool) {
	colons := text ^ ':'*ones
	length = bits.TrailingZeros64((colons-ones)&^colons&uppers) / 8
	if length-1 > 3 || length == 0 {
		return 0, length, false
	}
	const zeros = '0' * (ones & 0xffffffff)
	absent := 8 * uint(4-length)
	digits := uint32(text)<<absent | uint32(zeros)&(1<<absent-1) // four, the first of them zeros
	if !hexadecimal(digits) {
		return 0, length, false
	}
	values := digits&0x0f0f0f0f + digits>>6&0x01010101*9
	pairs := values<<4 | values>>8 // of bytes 0 and 1, of bytes 2 and 3
	return uint16(pairs&0xff<<8 | pairs>>16&0xff), length, true
}

// hexadecimal reports whether all four characters are digits of that base.
func hexadecimal(four uint32) bool {
	const ones, uppers = uint32(ones & 0xffffffff), uint32(uppers & 0xffffffff)
	small := four | ' '*ones
	// No sum of two bytes reaches the next byte, as long as none has its upper bit.
	digit := (four + (0x80-'0')*ones) &^ (four + (0x7f-'9')*ones)
	letter := (small + (0x80-'a')*ones) &^ (small + (0x7f-'f')*ones)
	return (digit|letter)&^four&uppers == uppers
}
