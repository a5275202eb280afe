package event

import (
	"encoding/binary"
	"math/bits"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// shape is what a scan saw inside a string.
type shape uint8

const (
	escaped  shape = 1 << iota // has a backslash
	unusual                    // has a byte other than printable ASCII
	halfPair                   // no string: half a surrogate pair (RFC 8259 § 8.2)
)

// refusal of a string that scanString could not read.
func (s shape) refusal() Refusal {
	if s&halfPair != 0 {
		return BadUTF8
	}
	return NotJSON
}

// scanString reads a JSON string whose first character is at i and gives the
// place of its closing quote, or −1 for what is not a string. Whether its bytes
// are UTF-8 is for others to say.
func scanString(data []byte, i int) (int, shape) {
	var s shape
	for {
		i = printable(data, i)
		if i >= len(data) {
			return -1, s
		}
		switch c := data[i]; {
		case c == '"':
			return i, s
		case c == '\\':
			s |= escaped
			n := escapeLen(data[i:])
			if n == 0 {
				return -1, s
			}
			if n < 0 {
				return -1, halfPair
			}
			i += n
		case c < ' ':
			return -1, s
		default:
			s |= unusual
			i++
		}
	}
}

// printable gives the first place at or after i with a byte that is not
// printable ASCII, or is a quote or a backslash: sixteen bytes at a time, without a
// branch on where in them it is, as nobody could foretell that.
func printable(data []byte, i int) int {
	for ; i+16 <= len(data); i += 16 {
		low, high := marks(binary.LittleEndian.Uint64(data[i:])), marks(binary.LittleEndian.Uint64(data[i+8:]))
		if low|high != 0 {
			at, behind := bits.TrailingZeros64(low), 64+bits.TrailingZeros64(high)
			if low == 0 {
				at = behind
			}
			return i + at/8
		}
	}
	for i < len(data) && data[i] >= ' ' && data[i] < 0x7f && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// marks sets the upper bit of each of eight bytes that is not printable ASCII, or
// is a quote or a backslash. A borrow or carry can only mark bytes behind one that
// is marked rightly, so that the first mark is exact.
func marks(x uint64) uint64 {
	const (
		ones = 0x0101010101010101
		high = 0x80 * ones
	)
	ascii := (x - ' '*ones) | ((x ^ '"'*ones) - ones) | ((x ^ '\\'*ones) - ones)
	return ((ascii &^ x) | x | (x + ones)) & high
}

// escapeLen is the length of the escape that s begins with, a surrogate pair
// being one: 0 for none, negative for half a pair.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		r := hex4(s[2:])
		switch {
		case r < 0:
			return 0
		case !utf16.IsSurrogate(r):
			return 6
		case len(s) >= 12 && s[6] == '\\' && s[7] == 'u' && utf16.DecodeRune(r, hex4(s[8:])) != utf8.RuneError:
			return 12
		}
		return -1
	}
	return 0
}

// hex4 reads four hexadecimal digits; negative where there are none.
func hex4(s []byte) rune {
	if len(s) < 4 {
		return -1
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1
		}
	}
	return r
}

// resolve gives the text of a string with escapes that scanString found.
func (d *Decoder) resolve(s []byte) []byte {
	start := len(d.text)
	d.text = appendUnescaped(d.text, s)
	return d.text[start:]
}

// appendUnescaped appends the text of a string that scanString has accepted.
func appendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			dst = append(dst, s[i])
			i++
			continue
		}
		n := escapeLen(s[i:])
		switch c := s[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(s[i+2:])
			if n == 12 {
				r = utf16.DecodeRune(r, hex4(s[i+8:]))
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
		i += n
	}
	return dst
}

// clean reports whether text of shape s holds no control character (Unicode's Cc).
func clean(text string, s shape) bool {
	if s == 0 {
		return true
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// view makes a string of b without copying: this is what ties the strings of an
// event to the bytes that it was read from.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
