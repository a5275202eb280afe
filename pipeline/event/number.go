package event

import (
	"math"
	"strconv"
)

// scanNumber reads the JSON number at i (RFC 8259 § 6) and gives the place
// behind it, or −1, and whether it has neither fraction nor exponent.
func scanNumber(data []byte, i int) (end int, whole bool) {
	if i < len(data) && data[i] == '-' {
		i++
	}
	first := i
	if i = digits(data, i); i == first || data[first] == '0' && i > first+1 {
		return -1, false
	}
	whole = true
	if i < len(data) && data[i] == '.' {
		whole, first = false, i+1
		if i = digits(data, first); i == first {
			return -1, false
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		whole = false
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		first = i
		if i = digits(data, first); i == first {
			return -1, false
		}
	}
	return i, whole
}

func digits(data []byte, i int) int {
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

// parseInt gives the value of a JSON number without fraction and exponent.
// More than 18 digits is more than any field takes.
func parseInt(s string) (int64, bool) {
	negative := s[0] == '-'
	if negative {
		s = s[1:]
	}
	if len(s) > 18 {
		return 0, false
	}
	var v int64
	for i := range len(s) {
		v = v*10 + int64(s[i]-'0')
	}
	if negative {
		v = -v
	}
	return v, true
}

// parseDuration gives the value of a JSON number that is finite and not negative.
func parseDuration(s string) (float64, bool) {
	if v, ok := parseShortDecimal(s); ok {
		return v, true
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v < 0 || math.IsInf(v, 0) {
		return 0, false
	}
	return v + 0, true // makes 0 of −0
}

// parseShortDecimal is the fast path: up to 15 digits, with or without a fraction,
// are two exact floats, and one division rounds correctly.
func parseShortDecimal(s string) (float64, bool) {
	if len(s) > 15 {
		return 0, false
	}
	var mantissa, scale, point = 0.0, 1.0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c-'0' <= 9:
			mantissa = mantissa*10 + float64(c-'0')
			if point {
				scale *= 10
			}
		case c == '.':
			point = true
		default:
			return 0, false
		}
	}
	return mantissa / scale, true
}
