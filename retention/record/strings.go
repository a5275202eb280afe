package record

import "hash/maphash"

// A column of strings is written in the first of these forms that fits it.
const (
	stringsSame    = 0 // one value for all rows
	stringsIndexed = 1 // a dictionary of at most 255 values, then a number per row
	stringsPlain   = 2 // a length and bytes per row
	stringsPacked  = 3 // values of few symbols, a few bits per symbol; tried before plain
)

// appendStrings writes a column.
func (e *Encoder) appendStrings(dst []byte, column []string) []byte {
	if e.buildDictionary(column) {
		return e.appendNumbered(dst)
	}
	return e.appendUnlike(dst, column)
}

// appendNumbered writes a column whose dictionary was built.
func (e *Encoder) appendNumbered(dst []byte) []byte {
	if len(e.values) == 1 {
		return appendString(append(dst, stringsSame), e.values[0])
	}
	dst = append(dst, stringsIndexed, byte(len(e.values)))
	for _, value := range e.values {
		dst = appendString(dst, value)
	}
	return appendInts(dst, e.numbers)
}

// appendUnlike writes a column that a dictionary does not pay for.
func (e *Encoder) appendUnlike(dst []byte, column []string) []byte {
	if p, ok := e.packing(column); ok {
		return e.appendPacked(dst, column, p)
	}
	dst = append(dst, stringsPlain)
	for _, value := range column {
		dst = appendString(dst, value)
	}
	return dst
}

const (
	// trialRows are looked at to tell a column that hardly repeats itself, such as
	// session ids: without the trial, a record of the tests took 235 ns instead of 100.
	trialRows = 32
	// maxValues is the most that a dictionary holds.
	maxValues = 255
)

// index finds values of a list of at most maxValues: a hash table with a random seed
// and factors, so that nobody can choose values that collide. Go's map took 0.2 µs an event.
type index struct {
	seed    maphash.Seed              // of long values
	factors [3]uint64                 // of values of up to 16 bytes: three products instead of a call
	slots   [2 * (maxValues + 1)]byte // number of the value, counting from 1; 0: none
}

func newIndex() index {
	return index{seed: maphash.MakeSeed(), factors: [3]uint64{randomFactor(), randomFactor(), randomFactor()}}
}

// find gives the number of a value, or 0 and the slot where its number belongs.
func (x *index) find(values []string, value string) (slot uint64, number byte) {
	for slot = x.slot(value); x.slots[slot] != 0; slot = (slot + 1) % uint64(len(x.slots)) {
		if number = x.slots[slot]; values[number-1] == value {
			return slot, number
		}
	}
	return slot, 0
}

// slot is where to look for a value first.
func (x *index) slot(value string) uint64 {
	n := len(value)
	if n > 16 {
		return maphash.String(x.seed, value) % uint64(len(x.slots))
	}
	low, high := word(value, 0), uint64(0)
	if n > 8 {
		high = word(value, n-8)
	}
	return (low*x.factors[0] ^ high*x.factors[1] ^ uint64(n)*x.factors[2]) >> (64 - 9)
}

// buildDictionary fills e.values, and e.numbers with each row's, or reports that
// a dictionary would not pay: more than 255 values, more than half as many as
// rows, or more than fifteen of sixteen where it begins.
func (e *Encoder) buildDictionary(column []string) bool {
	most := e.emptyDictionary(len(column))
	for i, value := range column {
		if i == trialRows && len(e.values) > trialRows*15/16 {
			return false
		}
		number, ok := e.numberOf(value, most)
		if !ok {
			return false
		}
		e.numbers[i] = uint64(number - 1)
	}
	return true
}

// emptyDictionary begins a dictionary and gives the most values that it may have.
func (e *Encoder) emptyDictionary(rows int) int {
	if e.index == nil {
		x := newIndex()
		e.index = &x
	}
	clear(e.index.slots[:])
	e.values = e.values[:0]
	e.numbers = resize(&e.numbers, rows)
	return max(min(maxValues, rows/2), 1)
}

// numberOf gives a value's number, counting from 1, unless there are too many.
func (e *Encoder) numberOf(value string, most int) (number byte, ok bool) {
	slot, number := e.index.find(e.values, value)
	if number == 0 {
		if len(e.values) == most {
			return 0, false
		}
		e.values = append(e.values, value)
		number = byte(len(e.values))
		e.index.slots[slot] = number
	}
	return number, true
}

// texts reads a column of strings.
func (r *columnReader) texts(t *Texts, rows int) {
	t.resize(rows)
	switch r.byte() {
	case stringsSame:
		t.values = append(t.values, r.string())
		clear(t.numbers)
	case stringsIndexed:
		for range r.byte() {
			t.values = append(t.values, r.string())
		}
		for i, number := range r.ints(rows) {
			if number >= uint64(len(t.values)) {
				r.fail()
				return
			}
			t.numbers[i] = uint32(number)
		}
	case stringsPlain:
		for i := 0; i < rows && !r.failed; i++ {
			t.values = append(t.values, r.string())
			t.numbers[i] = uint32(i)
		}
	case stringsPacked:
		r.readPacked(t, rows)
	default:
		r.fail()
	}
}
