package record

import (
	"math/bits"
	"unsafe"
)

// Ids are mostly of one length and of few symbols: 12 letters of base32 are 13
// bytes with their length, and 7.5 packed; a UUID is 37, and 16 packed, as
// its dashes stand in the same places in all of them.

const (
	// maxSymbols is the largest alphabet that packing pays for: six bits a symbol.
	maxSymbols = 64
	// maxPacked is the longest value that is packed.
	maxPacked = 128
)

// packing is how a column of strings is packed.
type packing struct {
	length int    // of every value that is not empty; 0: they differ
	like   string // a value, for the places in which all values are the same
	width  int    // bits per symbol
	filled int    // values that are not empty
}

// packing finds how a column can be packed: it fills e.places, e.symbols and e.codes.
// ok is false where it can't be, or would not pay. It compares eight bytes at a time: one
// by one, and with lengths listed that are all the same, an event took 0.03 µs more.
func (e *Encoder) packing(column []string) (p packing, ok bool) {
	e.symbols = e.symbols[:0]
	plain := len(column)
	var differ [maxPacked / 8]uint64 // by eight bytes; the last eight may begin before where they should
	for _, value := range column {
		n := len(value)
		switch {
		case n == 0:
			continue
		case n > maxPacked:
			return p, false
		case p.like == "":
			p.length, p.like = n, value
		case p.length != n:
			p.length = 0
		default:
			for at := 0; at < n; at += 8 {
				from := max(min(at, n-8), 0)
				differ[at/8] |= word(value, from) ^ word(p.like, from)
			}
		}
		p.filled++
		plain += n
	}
	e.places = e.places[:0]
	for i := range p.length {
		from := max(min(i&^7, p.length-8), 0)
		if byte(differ[i/8]>>(8*(i-from))) != 0 {
			e.places = append(e.places, byte(i))
		}
	}
	symbols := e.findSymbols(column, p.length)
	if symbols == 0 || len(e.symbols) > maxSymbols {
		return p, false
	}
	p.width = symbolWidth(len(e.symbols))
	return p, bitsSize(len(column))+p.length+len(e.symbols)+bitsSize(symbols*p.width) < plain
}

// findSymbols lists the symbols to pack and gives how many there are to write.
func (e *Encoder) findSymbols(column []string, length int) (n int) {
	var seen [256]bool
	for _, value := range column {
		switch {
		case value == "":
		case length == 0 || length == len(e.places):
			n += len(value)
			for i := range len(value) {
				seen[value[i]] = true
			}
		default:
			n += len(e.places)
			for _, place := range e.places {
				seen[value[place]] = true
			}
		}
	}
	for symbol := range seen {
		if seen[symbol] {
			e.codes[symbol] = byte(len(e.symbols))
			e.symbols = append(e.symbols, byte(symbol))
		}
	}
	return n
}

func symbolWidth(symbols int) int { return max(bits.Len(uint(symbols-1)), 1) }

// appendPacked writes, after the form:
//
//	per row 1 or, where it is empty, 0; the lengths of the others: columns of integers
//	if the lengths are one: a bit per place, 1 where values differ, and the bytes of the other places
//	symbols: count, bytes in ascending order
//	the symbols of all values, of the places where they differ, as one string of bits
func (e *Encoder) appendPacked(dst []byte, column []string, p packing) []byte {
	dst = append(dst, stringsPacked)
	dst = e.appendLengths(dst, column, p)
	if p.length > 0 {
		dst = appendTemplate(dst, p, e.places)
	}
	dst = append(dst, byte(len(e.symbols)))
	dst = append(dst, e.symbols...)
	packer := bitPacker{dst: dst}
	short := p.length == len(e.places) && p.length*p.width <= 64 // one word, as ids mostly are
	for _, value := range column {
		switch {
		case value == "":
		case p.length == 0:
			for i := range len(value) {
				packer.add(uint64(e.codes[value[i]]), p.width)
			}
		case short:
			word, filled := uint64(0), 0
			for i := range len(value) {
				word |= uint64(e.codes[value[i]]) << (filled & 63)
				filled += p.width
			}
			packer.add(word, filled)
		default:
			word, filled := uint64(0), 0
			for _, place := range e.places {
				if filled+p.width > 64 {
					packer.add(word, filled)
					word, filled = 0, 0
				}
				word |= uint64(e.codes[value[place]]) << (filled & 63)
				filled += p.width
			}
			packer.add(word, filled)
		}
	}
	return packer.end()
}

// appendLengths writes which values there are and how long they are: mostly all, and all
// of one length.
func (e *Encoder) appendLengths(dst []byte, column []string, p packing) []byte {
	if p.filled == len(column) && p.length > 0 {
		return appendSame(appendSame(dst, 1), uint64(p.length))
	}
	present, lengths := resize(&e.present, len(column)), resize(&e.lengths, len(column))[:0]
	for i, value := range column {
		if present[i] = 0; value != "" {
			present[i] = 1
			lengths = append(lengths, uint64(len(value)))
		}
	}
	return appendInts(appendInts(dst, present), lengths)
}

func appendTemplate(dst []byte, p packing, places []byte) []byte {
	differ := len(dst)
	dst = append(dst, make([]byte, bitsSize(p.length))...)
	for i := range p.length {
		if len(places) > 0 && int(places[0]) == i {
			dst[differ+i/8] |= 1 << (i % 8)
			places = places[1:]
		} else {
			dst = append(dst, p.like[i])
		}
	}
	return dst
}

// readPacked reads what appendPacked wrote after the form. It allocates at most
// maxPacked bytes a row.
func (r *columnReader) readPacked(t *Texts, rows int) {
	present := resize(&r.flags, rows)
	values := 0
	for i, p := range r.ints(rows) {
		if p > 1 {
			r.fail()
			return
		}
		present[i] = p == 1
		values += int(p)
	}
	lengths := resize(&r.lengths, values)
	one := true
	for i, n := range r.ints(values) {
		if n == 0 || n > maxPacked {
			r.fail()
			return
		}
		lengths[i] = uint8(n)
		one = one && lengths[i] == lengths[0]
	}
	if r.failed || values == 0 {
		r.fail()
		return
	}
	var of *template
	if one {
		of = r.readTemplate(int(lengths[0]))
	}
	c := r.symbolColumn(lengths, of)
	if r.failed {
		return
	}
	r.makeRoom(present, lengths)
	value, from := 0, 0 // the next one, and its first symbol
	for i, p := range present {
		text := ""
		if p {
			n := c.symbolsOf(lengths[value])
			if r.wants(i) {
				made := r.made[len(r.made) : len(r.made)+int(lengths[value])]
				if !c.text(made, from, n) {
					r.fail()
					return
				}
				r.made = r.made[:len(r.made)+len(made)]
				text = unsafe.String(unsafe.SliceData(made), len(made)) // nobody else has it
			}
			value, from = value+1, from+n
		}
		t.values, t.numbers[i] = append(t.values, text), uint32(i)
	}
}

// makeRoom makes room for the texts of the rows that are wanted. Texts that were made
// before stay where they are.
func (r *columnReader) makeRoom(present []bool, lengths []uint8) {
	size, value := 0, 0
	for i, p := range present {
		if p {
			if r.wants(i) {
				size += int(lengths[value])
			}
			value++
		}
	}
	if cap(r.made)-len(r.made) < size {
		r.made = make([]byte, 0, max(size, min(2*cap(r.made), 64<<10)))
	}
}

// template is what all values of a column have in common.
type template struct {
	text   []byte
	places []byte // where they differ
}

func (r *columnReader) readTemplate(length int) *template {
	differ := r.bytes(uint64(bitsSize(length)))
	t := &template{text: make([]byte, length), places: r.places[:0]}
	if r.failed || length%8 != 0 && differ[length/8]>>(length%8) != 0 {
		r.fail()
		return t
	}
	for i := range length {
		if differ[i/8]&(1<<(i%8)) != 0 {
			t.places = append(t.places, byte(i))
		} else {
			t.text[i] = r.byte()
		}
	}
	r.places = t.places
	return t
}

// symbolColumn is the symbols of a column of strings as they are written.
type symbolColumn struct {
	symbols  string
	packed   string
	width    int
	template *template // nil: every symbol was written
}

// symbolColumn reads all of it but the symbols.
func (r *columnReader) symbolColumn(lengths []uint8, t *template) (c symbolColumn) {
	c.symbols, c.template = r.bytes(uint64(r.byte())), t
	if r.failed || len(c.symbols) == 0 || len(c.symbols) > maxSymbols {
		r.fail()
		return c
	}
	for i := 1; i < len(c.symbols); i++ {
		if c.symbols[i] <= c.symbols[i-1] {
			r.fail()
			return c
		}
	}
	written := 0
	for _, n := range lengths {
		written += c.symbolsOf(n)
	}
	c.width = symbolWidth(len(c.symbols))
	c.packed = r.bytes(uint64(bitsSize(written * c.width)))
	if r.failed || written == 0 || written*c.width%8 != 0 && c.packed[len(c.packed)-1]>>(written*c.width%8) != 0 {
		r.fail()
		return c
	}
	return c
}

// symbolsOf is how many symbols of a text of a length were written.
func (c *symbolColumn) symbolsOf(length uint8) int {
	if c.template != nil {
		return len(c.template.places)
	}
	return int(length)
}

// text makes a text whose n symbols begin at from; false where one is none of the column's.
func (c *symbolColumn) text(dst []byte, from, n int) bool {
	var places []byte
	if c.template != nil {
		copy(dst, c.template.text)
		places = c.template.places
	}
	mask, bit, each := uint64(1)<<c.width-1, from*c.width, 56/c.width // symbols of a word
	for i := 0; i < n; {
		codes := word(c.packed, bit/8) >> (bit % 8)
		for end := min(i+each, n); i < end; i++ {
			code := codes & mask
			codes >>= c.width
			if code >= uint64(len(c.symbols)) {
				return false
			}
			if places != nil {
				dst[places[i]] = c.symbols[code]
			} else {
				dst[i] = c.symbols[code]
			}
		}
		bit += each * c.width
	}
	return true
}
