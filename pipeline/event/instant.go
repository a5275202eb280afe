package event

import (
	"encoding/binary"
	"strconv"
	"time"
	"unsafe"
)

// Years 1 to 9999, in Unix milliseconds.
const (
	minInstant = -62135596800000
	maxInstant = 253402300799999
)

// dates remembers the date that was read last: the next one is mostly the same,
// and counting its days takes half of what reading a time takes.
type dates struct {
	low  uint64 // YYYY-MM-; 0: none was read yet
	high uint16 // DD
	days int64  // since 1970
}

// parseInstant reads an RFC 3339 time and gives Unix milliseconds, rounded down.
// It takes what time.Parse takes with time.RFC3339, less its leniencies (a
// comma before the fraction, an hour of one digit, an offset of a day).
func (d *dates) parseInstant(s string) (int64, bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[10] != 'T' {
		return 0, false
	}
	b := unsafe.Slice(unsafe.StringData(s), len(s)) // is only read
	low, high := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:])
	if low != d.low || high != d.high || low == 0 {
		if !d.read(s) {
			return 0, false
		}
		d.low, d.high = low, high
	}
	clock, ok := parseClock(binary.LittleEndian.Uint64(b[11:]))
	if !ok {
		return 0, false
	}
	fraction, rest, ok := parseFraction(s[19:])
	if !ok {
		return 0, false
	}
	offset, ok := parseOffset(rest)
	if !ok {
		return 0, false
	}
	ms := (d.days*86400+clock-offset)*1000 + fraction
	return ms, minInstant <= ms && ms <= maxInstant
}

// parseClock reads hh:mm:ss, the first character being the lowest byte: seconds.
func parseClock(text uint64) (int64, bool) {
	const (
		zeros = '0' | '0'<<8 | ':'<<16 | '0'<<24 | '0'<<32 | ':'<<40 | '0'<<48 | '0'<<56
		most  = 9 | 9<<8 | 9<<24 | 9<<32 | 9<<48 | 9<<56
		upper = 0x8080808080808080
	)
	digits := text ^ zeros // '0' and ':' differ in more than the bits of a digit
	// Of bytes below 0x80 a sum does not reach the next, and its upper bit says that one is more than most.
	if (digits|(digits+(upper-upper>>7-most)))&upper != 0 {
		return 0, false
	}
	pairs := digits*10 + digits>>8 // each in its tens' byte: at most 99, so that none reaches the next
	hour, minute, second := pairs&0xff, pairs>>24&0xff, pairs>>48&0xff
	return int64(hour*3600 + minute*60 + second), hour < 24 && minute < 60 && second < 60
}

// read reads the date that s begins with.
func (d *dates) read(s string) bool {
	century, years, month, day := two(s, 0), two(s, 2), two(s, 5), two(s, 8)
	if s[4] != '-' || s[7] != '-' || century > 99 || years > 99 || month-1 > 11 {
		return false
	}
	year := century*100 + years
	if day-1 >= daysIn(year, month) {
		return false
	}
	d.days = daysSince1970(year, month, day)
	return true
}

// two reads two digits at s[i:]; more than 99 where there are none.
func two(s string, i int) uint {
	tens, ones := s[i]-'0', s[i+1]-'0'
	if tens > 9 || ones > 9 {
		return 1000
	}
	return uint(tens)*10 + uint(ones)
}

// parseFraction reads an optional fraction of a second: milliseconds, and what
// follows.
func parseFraction(s string) (ms int64, rest string, ok bool) {
	if s[0] != '.' {
		return 0, s, true
	}
	n := 0
	for weight := int64(100); n+1 < len(s) && s[n+1]-'0' <= 9; n++ {
		ms += weight * int64(s[n+1]-'0')
		weight /= 10
	}
	return ms, s[n+1:], n > 0
}

// parseOffset reads "Z" or ±hh:mm: seconds east of Greenwich.
func parseOffset(s string) (int64, bool) {
	if s == "Z" {
		return 0, true
	}
	if len(s) != 6 || s[0] != '+' && s[0] != '-' || s[3] != ':' {
		return 0, false
	}
	hour, minute := two(s, 1), two(s, 4)
	if hour > 23 || minute > 59 {
		return 0, false
	}
	seconds := int64(hour*3600 + minute*60)
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

var monthDays = [13]uint{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func daysIn(year, month uint) uint {
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 29
	}
	return monthDays[month]
}

// daysSince1970 counts days of the Gregorian calendar. Years begin in March, so
// that the leap day comes last and the months before a date are a straight line.
func daysSince1970(year, month, day uint) int64 {
	y, m := int64(year), int64(month)-3
	if m < 0 {
		y, m = y-1, m+12
	}
	y += 400 // year 0 begins in March too: stay clear of negative divisions
	return y*365 + y/4 - y/100 + y/400 + (153*m+2)/5 + int64(day) - 1 - (719468 + 146097)
}

// appendInstant writes t as RFC 3339 in UTC, with milliseconds where it has
// any; outside of the years that RFC 3339 can name, as an integer.
func appendInstant(dst []byte, ms int64) []byte {
	if ms < minInstant || ms > maxInstant {
		return strconv.AppendInt(dst, ms, 10)
	}
	t := time.UnixMilli(ms).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(dst, '"')
	dst = appendTwo(dst, year/100, 0)
	dst = appendTwo(dst, year%100, '-')
	dst = appendTwo(dst, int(month), '-')
	dst = appendTwo(dst, day, 'T')
	dst = appendTwo(dst, hour, ':')
	dst = appendTwo(dst, minute, ':')
	dst = appendTwo(dst, second, 0)
	if f := t.Nanosecond() / 1e6; f != 0 {
		dst = append(dst, '.', byte('0'+f/100)) //nolint:gosec // a digit
		dst = appendTwo(dst, f%100, 0)
	}
	return append(dst, 'Z', '"')
}

// appendTwo writes two digits and a separator, if there is one.
func appendTwo(dst []byte, v int, separator byte) []byte {
	dst = append(dst, byte('0'+v/10), byte('0'+v%10)) //nolint:gosec // digits
	if separator != 0 {
		dst = append(dst, separator)
	}
	return dst
}
