package event

import "unicode/utf8"

// Bounds of a message, and of the strings that are kept, in bytes.
const (
	MaxSize     = 64 << 10
	MaxDepth    = 32 // objects and arrays within each other
	MaxAccount  = 128
	MaxName     = 128 // session, server
	MaxSoftware = 64  // transport, client
)

// Decoder reads events. It walks a message once, from left to right, without
// building anything of what it does not keep, and allocates nothing once it
// has seen messages of the kind. A Decoder serves one goroutine.
type Decoder struct {
	root *node
	keys keySet
	// What came after each key of the messages before; see guess.
	guesses [len(fieldNames) + 1][2]guess
	dates   dates
	// text holds strings that had escapes, once they are resolved. Strings of
	// the event point into it, so it is only ever appended to within a message.
	text []byte

	// The message in hand.
	data    []byte
	event   *Event
	found   uint32  // bit per field that was there and not null
	portEnd uint16  // set when found has it
	fault   Refusal // the first field that was refused; what follows is still checked
	shapes  shape   // of all strings that were read
}

// NewDecoder compiles the field map. Its errors name the setting.
func NewDecoder(fields FieldMap) (*Decoder, error) {
	root, err := compile(fields)
	if err != nil {
		return nil, err
	}
	return &Decoder{root: root, keys: newKeySet()}, nil
}

// Clone gives a decoder with the same field map for another goroutine.
func (d *Decoder) Clone() *Decoder { return &Decoder{root: d.root, keys: newKeySet()} }

// Decode reads the value of one message into e, all of it but e.Topic. A nil
// value is a tombstone. Where several things are wrong, what is wrong with the
// JSON is told before what is wrong with a field. A refused event is left empty.
func (d *Decoder) Decode(value []byte, e *Event) Refusal {
	*e = Event{Topic: e.Topic, Kind: DefaultKind, Outcome: DefaultOutcome, RTT: -1}
	refusal := d.decode(value, e)
	if refusal != Accepted {
		*e = Event{Topic: e.Topic}
	}
	d.data, d.event = nil, nil // whose they are may let go of them
	return refusal
}

func (d *Decoder) decode(value []byte, e *Event) Refusal {
	switch {
	case value == nil:
		return Tombstone
	case len(value) > MaxSize:
		return TooLarge
	}
	d.data, d.event = value, e
	d.text, d.found, d.fault, d.shapes = d.text[:0], 0, Accepted, 0
	d.keys.reset()
	refusal := d.message()
	// All that was accepted was looked at: where it is ASCII there is nothing to check.
	if (refusal != Accepted || d.shapes&unusual != 0) && !utf8.Valid(value) {
		return BadUTF8
	}
	return refusal
}

// message reads the message, which may not be UTF-8.
func (d *Decoder) message() Refusal {
	i := d.space(0)
	if i == len(d.data) {
		return Empty
	}
	if d.data[i] != '{' {
		return NotJSON
	}
	i, refusal := d.object(d.root, i, 1)
	switch {
	case refusal != Accepted:
		return refusal
	case d.space(i) != len(d.data):
		return NotJSON
	case d.fault != Accepted:
		return d.fault
	}
	return d.complete()
}

// complete looks at the fields together.
func (d *Decoder) complete() Refusal {
	switch {
	case !d.has(fieldTime):
		return NoTime
	case !d.has(fieldAccount):
		return NoAccount
	case !d.has(fieldIP):
		return NoIP
	}
	ports := &d.event.Ports
	if d.has(fieldPortEnd) {
		if !ports.Known || d.portEnd < ports.First {
			return BadPort
		}
		ports.Last = d.portEnd
	}
	return Accepted
}

func (d *Decoder) has(f field) bool { return d.found&(1<<f) != 0 }

// at is the byte at i, or 0, which no JSON has outside a string.
func (d *Decoder) at(i int) byte {
	if uint(i) < uint(len(d.data)) {
		return d.data[i]
	}
	return 0
}

// space gives the first place at or after i that is not white space.
func (d *Decoder) space(i int) int {
	for uint(i) < uint(len(d.data)) {
		switch d.data[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// object reads the object whose brace is at i and gives the place behind it. n
// is nil where no field can be in it.
func (d *Decoder) object(n *node, i, depth int) (int, Refusal) {
	if depth > MaxDepth {
		return i, TooDeep
	}
	id := d.keys.object()
	var seen uint16
	last := 0 // number of the key before, counting from 1; 0: none; negative: one that does not matter
	for begin := true; ; begin = false {
		if n == d.root && last >= 0 {
			if g := d.guess(last, i); g != nil && seen&g.member.bit == 0 {
				m := g.member
				seen |= m.bit
				var refusal Refusal
				if i += g.length; g.quoted {
					i, refusal = d.string(m, i)
				} else {
					i, refusal = d.member(m, d.space(i), depth)
				}
				if refusal != Accepted {
					return i, refusal
				}
				last = m.number
				continue
			}
		}
		from := i
		switch i = d.space(i); {
		case begin:
			if i = d.space(i + 1); d.at(i) == '}' {
				return i + 1, Accepted
			}
		case d.at(i) == ',':
			i = d.space(i + 1)
		case d.at(i) == '}':
			return i + 1, Accepted
		default:
			return i, NotJSON
		}
		m, i2, refusal := d.key(n, i, id, &seen)
		if refusal != Accepted {
			return i2, refusal
		}
		if n == d.root && last >= 0 && m != nil {
			d.learn(last, m, from, i2)
		}
		if last = -1; m != nil {
			last = m.number
		}
		if i, refusal = d.member(m, i2, depth); refusal != Accepted {
			return i, refusal
		}
	}
}

// key reads the key at i and the colon, and gives the place of its value. The
// member is nil for a key that does not matter.
func (d *Decoder) key(n *node, i int, object uint64, seen *uint16) (m *member, value int, refusal Refusal) {
	if d.at(i) != '"' {
		return nil, i, NotJSON
	}
	start := i + 1
	end, shape := scanString(d.data, start)
	if end < 0 {
		return nil, i, shape.refusal()
	}
	d.shapes |= shape
	key := d.data[start:end]
	if shape&escaped != 0 {
		key = d.resolve(key)
	}
	if n != nil {
		m = n.lookup(key)
	}
	if m == nil {
		if !d.keys.add(object, key) {
			return nil, i, DuplicateKey
		}
	} else {
		if *seen&m.bit != 0 {
			return nil, i, DuplicateKey
		}
		*seen |= m.bit
	}
	if i = d.space(end + 1); d.at(i) != ':' {
		return nil, i, NotJSON
	}
	return m, d.space(i + 1), Accepted
}

// member reads the value at i of the key m, which is nil for one that does not
// matter.
func (d *Decoder) member(m *member, i, depth int) (int, Refusal) {
	switch c := d.at(i); {
	case m == nil:
		return d.value(i, depth)
	case m.field == noField:
		if c == '{' {
			return d.object(m.child, i, depth+1)
		}
		return d.value(i, depth) // no object, so the fields below are absent
	case c == '"':
		return d.string(m, i+1)
	case c == '-' || c-'0' <= 9:
		end, whole := scanNumber(d.data, i)
		if end < 0 {
			return i, NotJSON
		}
		d.setNumber(m.field, view(d.data[i:end]), whole)
		return end, Accepted
	case c != 'n':
		d.refuse(m.field)
	}
	return d.value(i, depth)
}

// string reads the string of m whose first character is at i.
func (d *Decoder) string(m *member, i int) (int, Refusal) {
	end := printable(d.data, i)
	if d.at(end) == '"' {
		d.setText(m.field, view(d.data[i:end]), 0)
		return end + 1, Accepted
	}
	end, shape := scanString(d.data, i)
	if end < 0 {
		return i, shape.refusal()
	}
	d.shapes |= shape
	text := d.data[i:end]
	if shape&escaped != 0 {
		text = d.resolve(text)
	}
	d.setText(m.field, view(text), shape)
	return end + 1, Accepted
}

// value checks a value at i that is not kept and gives the place behind it.
func (d *Decoder) value(i, depth int) (int, Refusal) {
	switch c := d.at(i); {
	case c == '"':
		end, shape := scanString(d.data, i+1)
		if end < 0 {
			return i, shape.refusal()
		}
		d.shapes |= shape
		return end + 1, Accepted
	case c == '{':
		return d.object(nil, i, depth+1)
	case c == '[':
		return d.array(i, depth+1)
	case c == '-' || c-'0' <= 9:
		end, _ := scanNumber(d.data, i)
		if end < 0 {
			return i, NotJSON
		}
		return end, Accepted
	case c == 't':
		return d.literal(i, "true")
	case c == 'f':
		return d.literal(i, "false")
	case c == 'n':
		return d.literal(i, "null")
	}
	return i, NotJSON
}

func (d *Decoder) array(i, depth int) (int, Refusal) {
	if depth > MaxDepth {
		return i, TooDeep
	}
	if i = d.space(i + 1); d.at(i) == ']' {
		return i + 1, Accepted
	}
	for {
		var refusal Refusal
		if i, refusal = d.value(i, depth); refusal != Accepted {
			return i, refusal
		}
		switch i = d.space(i); d.at(i) {
		case ',':
			i = d.space(i + 1)
		case ']':
			return i + 1, Accepted
		default:
			return i, NotJSON
		}
	}
}

func (d *Decoder) literal(i int, word string) (int, Refusal) {
	if end := i + len(word); end <= len(d.data) && string(d.data[i:end]) == word {
		return end, Accepted
	}
	return i, NotJSON
}
