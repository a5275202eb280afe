package event

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// Append writes e as the JSON object that a decoder without a field map reads
// back, leaving out what is not known.
func Append(dst []byte, e *Event) []byte {
	dst = appendInstant(append(dst, `{"time":`...), e.Time)
	dst = appendText(append(dst, `,"account":`...), e.Account)
	dst = append(dst, `,"ip":"`...)
	dst = e.Address.Reveal().AppendTo(dst)
	dst = append(dst, '"')
	if e.Ports.Known {
		dst = strconv.AppendUint(append(dst, `,"port":`...), uint64(e.Ports.First), 10)
		if e.Ports.Last != e.Ports.First {
			dst = strconv.AppendUint(append(dst, `,"port_end":`...), uint64(e.Ports.Last), 10)
		}
	}
	dst = appendField(dst, `,"event":`, e.Kind)
	dst = appendField(dst, `,"session":`, e.Session)
	if e.Since != 0 {
		dst = appendInstant(append(dst, `,"since":`...), e.Since)
	}
	dst = appendField(dst, `,"server":`, e.Server)
	dst = appendField(dst, `,"transport":`, e.Transport)
	dst = appendField(dst, `,"client":`, e.Client)
	dst = appendField(dst, `,"outcome":`, e.Outcome)
	if e.RTT >= 0 && e.RTT <= math.MaxFloat64 {
		dst = strconv.AppendFloat(append(dst, `,"rtt_ms":`...), e.RTT, 'g', -1, 64)
	}
	return append(dst, '}')
}

func appendField(dst []byte, key, value string) []byte {
	if value == "" {
		return dst
	}
	return appendText(append(dst, key...), value)
}

// appendText writes a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
		}
	}
	return append(dst, '"')
}
