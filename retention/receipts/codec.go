package receipts

import (
	"bytes"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"
)

// codec writes or reads one entry as canonical JSON (RFC 8785): names sorted, no
// white space, integers only. An entry lists its fields once, in order, for both
// directions, so that only what Marshal writes can be read.
type codec struct {
	b       []byte // written so far, or still to be read
	reading bool
	begun   bool // a field came before
	err     error
}

var errNotCanonical = errors.New("not a receipt in canonical form")

func (c *codec) fail() {
	if c.err == nil {
		c.err = errNotCanonical
	}
}

// name writes or expects a field's name; false when reading has failed.
func (c *codec) name(name string) bool {
	first := byte(',')
	if !c.begun {
		first = '{'
	}
	if !c.reading {
		c.b = append(append(append(c.b, first, '"'), name...), '"', ':')
		c.begun = true
		return true
	}
	if c.err != nil || !c.at(first, name) {
		c.fail()
		return false
	}
	c.b = c.b[len(name)+4:]
	c.begun = true
	return true
}

// at reports whether the field called name comes next.
func (c *codec) at(first byte, name string) bool {
	n := len(name)
	return len(c.b) >= n+4 && c.b[0] == first && c.b[1] == '"' && string(c.b[2:2+n]) == name && c.b[2+n] == '"' && c.b[3+n] == ':'
}

// has decides on an optional field: written where present, read where it comes next.
func (c *codec) has(name string, present bool) bool {
	if !c.reading {
		return present
	}
	return c.err == nil && c.at(',', name)
}

func (c *codec) text(name string, v *string) {
	if c.name(name) {
		c.value(v)
	}
}

// value is a text without a name.
func (c *codec) value(v *string) {
	if c.reading {
		*v = c.readText()
		return
	}
	c.writeText(*v)
}

func (c *codec) writeText(s string) {
	c.b = append(c.b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			c.b = append(c.b, '\\')
		}
		c.b = append(c.b, s[i])
	}
	c.b = append(c.b, '"')
}

// readText knows the two escapes that writeText uses; control characters and
// invalid UTF-8 are in no entry.
func (c *codec) readText() string {
	if len(c.b) == 0 || c.b[0] != '"' {
		c.fail()
		return ""
	}
	escaped := false
	for i := 1; i < len(c.b); i++ {
		switch b := c.b[i]; {
		case b == '"':
			raw := c.b[1:i]
			c.b = c.b[i+1:]
			if !utf8.Valid(raw) {
				c.fail()
			}
			if escaped {
				raw = unescape(raw)
			}
			return string(raw)
		case b == '\\':
			escaped = true
			if i++; i == len(c.b) || c.b[i] != '"' && c.b[i] != '\\' {
				c.fail()
				return ""
			}
		case b < ' ' || b == 0x7f:
			c.fail()
			return ""
		}
	}
	c.fail()
	return ""
}

func unescape(raw []byte) []byte {
	plain := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' {
			i++
		}
		plain = append(plain, raw[i])
	}
	return plain
}

func (c *codec) integer(name string, v *int64) {
	if c.name(name) {
		c.number(v)
	}
}

// number is an integer without a name.
func (c *codec) number(v *int64) {
	if !c.reading {
		c.b = strconv.AppendInt(c.b, *v, 10)
		return
	}
	n, value := 0, int64(0)
	for n < len(c.b) && n < shortDigits && c.b[n] >= '0' && c.b[n] <= '9' {
		value = 10*value + int64(c.b[n]-'0')
		n++
	}
	if n == 0 || n == shortDigits {
		c.longNumber(v)
		return
	}
	if c.b[0] == '0' && n > 1 {
		c.fail()
		return
	}
	*v, c.b = value, c.b[n:]
}

// shortDigits are as many as can't overflow.
const shortDigits = 18

// longNumber reads numbers that are negative or have many digits.
func (c *codec) longNumber(v *int64) {
	n := 0
	for n < len(c.b) && (c.b[n] == '-' && n == 0 || c.b[n] >= '0' && c.b[n] <= '9') {
		n++
	}
	digits := bytes.TrimPrefix(c.b[:n], []byte("-"))
	parsed, err := strconv.ParseInt(string(c.b[:n]), 10, 64)
	if err != nil || digits[0] == '0' && n > 1 {
		c.fail()
		return
	}
	*v, c.b = parsed, c.b[n:]
}

// count is an integer that a Go int holds.
func (c *codec) count(name string, v *int) {
	wide := int64(*v)
	c.integer(name, &wide)
	*v = int(wide)
}

// millis is a duration in whole milliseconds.
func (c *codec) millis(name string, v *time.Duration) {
	wide := v.Milliseconds()
	c.integer(name, &wide)
	if wide > maxMillis || wide < -maxMillis {
		c.fail()
		return
	}
	*v = time.Duration(wide) * time.Millisecond
}

const maxMillis = int64(1<<63-1) / int64(time.Millisecond)

// instant is a time as milliseconds since 1970.
func (c *codec) instant(name string, v *time.Time) {
	wide := v.UnixMilli()
	c.integer(name, &wide)
	if wide > maxMillis || wide < -maxMillis {
		c.fail()
		return
	}
	if c.reading {
		*v = time.UnixMilli(wide).UTC()
	}
}

func (c *codec) flag(name string, v *bool) {
	if !c.name(name) {
		return
	}
	if !c.reading {
		c.b = strconv.AppendBool(c.b, *v)
		return
	}
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(c.b, []byte(word)) {
			*v, c.b = word == "true", c.b[len(word):]
			return
		}
	}
	c.fail()
}

// affirm is a flag that is said only where it is so.
func (c *codec) affirm(name string, v *bool) {
	if c.flag(name, v); !*v {
		c.fail()
	}
}

// list is a list of texts.
func (c *codec) list(name string, v *[]string) {
	if !c.name(name) {
		return
	}
	if !c.reading {
		for i, s := range *v {
			c.b = append(c.b, "[,"[min(i, 1)])
			c.writeText(s)
		}
		if len(*v) == 0 {
			c.b = append(c.b, '[')
		}
		c.b = append(c.b, ']')
		return
	}
	if bytes.HasPrefix(c.b, []byte("[]")) {
		c.b = c.b[2:]
		return
	}
	for open := byte('['); c.err == nil && len(c.b) > 0 && c.b[0] == open; open = ',' {
		c.b = c.b[1:]
		*v = append(*v, c.readText())
	}
	if c.err != nil || len(c.b) == 0 || c.b[0] != ']' || len(*v) == 0 {
		c.fail()
		return
	}
	c.b = c.b[1:]
}

// literal is punctuation between values.
func (c *codec) literal(text string) {
	if !c.reading {
		c.b = append(c.b, text...)
		return
	}
	if c.err != nil || len(c.b) < len(text) || string(c.b[:len(text)]) != text {
		c.fail()
		return
	}
	c.b = c.b[len(text):]
}

// more opens a list, or goes on with one: i of n values are behind. Reading, it tells
// by what comes next.
func (c *codec) more(i, n int) bool {
	mark := byte(',')
	if i == 0 {
		mark = '['
	}
	if !c.reading {
		if i < n {
			c.b = append(c.b, mark)
		}
		return i < n
	}
	if c.err != nil || len(c.b) == 0 || c.b[0] != mark || i == 0 && bytes.HasPrefix(c.b, []byte("[]")) {
		return false
	}
	c.b = c.b[1:]
	return true
}

// close ends a list of so many values.
func (c *codec) close(values int) {
	if values == 0 {
		c.literal("[")
	}
	c.literal("]")
}

// constant is a field whose value is known.
func (c *codec) constant(name, value string) {
	v := value
	c.text(name, &v)
	if v != value {
		c.fail()
	}
}

// end closes the object.
func (c *codec) end() error {
	if !c.reading {
		c.b = append(c.b, '}')
		return c.err
	}
	if c.err == nil && string(c.b) != "}" {
		c.fail()
	}
	return c.err
}
