package event

import "encoding/binary"

// guess is what stood between two values of the outermost object of an earlier
// message: comma, key and colon, with their white space, the quote that the value
// begins with, if it does, and whose value came next. Messages of one producer have
// their keys in one order and one spelling, so the next message mostly has the same
// bytes in the same place, and comparing two words is all there is to do. JSON's
// grammar does not look back: what those bytes meant after a value they mean again.
// Decoding an event of the reference workload takes 0.59 µs of CPU without, and 0.30 with.
// Two guesses for each place make room for a field that not every message has.
type guess struct {
	words  [2]uint64
	masks  [2]uint64 // which of their bytes count
	length int
	member *member // nil: none
	quoted bool    // the value is a string, and its quote is the last of the bytes
}

// maxGuess is the longest text that is remembered.
const maxGuess = 16

// guess gives what is known of the bytes at i; nil for nothing. last numbers the member before.
func (d *Decoder) guess(last, i int) *guess {
	var low, high uint64
	switch left := uint(len(d.data) - i); {
	case left >= maxGuess:
		low, high = binary.LittleEndian.Uint64(d.data[i:]), binary.LittleEndian.Uint64(d.data[i+8:])
	case left < 2 || len(d.data) < maxGuess:
		return nil // at the last brace
	default: // the end of the message, and zeros, which match nothing
		end, gone := d.data[len(d.data)-maxGuess:], 8*(maxGuess-left)
		low, high = binary.LittleEndian.Uint64(end), binary.LittleEndian.Uint64(end[8:])
		low, high = low>>gone|high<<(64-gone)|high>>(gone-64), high>>gone // shifts of 64 and more give 0
	}
	for at := range d.guesses[last] {
		if g := &d.guesses[last][at]; (low^g.words[0])&g.masks[0]|(high^g.words[1])&g.masks[1] == 0 && g.member != nil {
			return g
		}
	}
	return nil
}

// learn remembers that the bytes from from to to led to m.
func (d *Decoder) learn(last int, m *member, from, to int) {
	quoted := m.field != noField && d.at(to) == '"'
	if quoted {
		to++
	}
	if to-from > maxGuess {
		return
	}
	var text, mask [maxGuess]byte
	for i := range copy(text[:], d.data[from:to]) {
		mask[i] = 0xff
	}
	g := guess{length: to - from, member: m, quoted: quoted}
	for i := range g.words {
		g.words[i] = binary.LittleEndian.Uint64(text[8*i:])
		g.masks[i] = binary.LittleEndian.Uint64(mask[8*i:])
	}
	d.guesses[last][0], d.guesses[last][1] = g, d.guesses[last][0]
}
