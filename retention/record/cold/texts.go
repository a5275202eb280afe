package cold

import (
	"math"
	"math/bits"
	"strings"
)

// An alphabet is the symbols that a position of a text can have, in the order of
// their codes.
type alphabet struct {
	symbols string
	width   uint
	codes   [256]uint8 // of the symbols; absent for the others
}

const absent = 0xff

// The alphabets of ids, the narrow ones first: an alphabet's place is its number in
// the format. 0 is for a position that has one symbol, which follows.
var alphabets = func() []alphabet {
	var printable strings.Builder
	for c := range 128 {
		printable.WriteByte(byte(c))
	}
	const digits, lower, upper = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	all := []alphabet{
		{},
		{symbols: "89ab"},
		{symbols: digits},
		{symbols: digits + "abcdef"},
		{symbols: digits + "ABCDEF"},
		{symbols: lower + "234567"},
		{symbols: upper + "234567"},
		{symbols: digits + lower + "-_."},
		{symbols: digits + lower + upper + "-_"},
		{symbols: digits + lower + upper + "+/"},
		{symbols: printable.String()},
	}
	for i := range all {
		a := &all[i]
		a.width = uint(bits.Len(uint(max(len(a.symbols), 1) - 1)))
		for c := range a.codes {
			a.codes[c] = absent
		}
		for code := range len(a.symbols) {
			a.codes[a.symbols[code]] = uint8(code)
		}
	}
	return all
}()

const (
	oneSymbol   = 0
	anyByte     = 15 // instead of an alphabet: eight bits as they are
	maxTextSize = 1 << 10
)

// itself are the codes of anyByte.
var itself = func() (codes [256]uint8) {
	for c := range codes {
		codes[c] = uint8(c)
	}
	return codes
}()

// memberOf has a bit for each alphabet that a symbol is in.
var memberOf = func() (of [256]uint16) {
	for n := range alphabets {
		for i := range len(alphabets[n].symbols) {
			of[alphabets[n].symbols[i]] |= 1 << n
		}
	}
	return of
}()

// alphabetOf gives the first alphabet that has all symbols of texts at position i,
// or at any position where i is −1.
func alphabetOf(texts []string, i int) int {
	in := uint16(math.MaxUint16)
	if i >= 0 {
		differ := byte(0)
		for _, text := range texts {
			in &= memberOf[text[i]]
			differ |= text[i] ^ texts[0][i]
		}
		if differ == 0 {
			return oneSymbol
		}
	} else {
		for _, text := range texts {
			for j := range len(text) {
				in &= memberOf[text[j]]
			}
		}
	}
	if in == 0 {
		return anyByte
	}
	return max(bits.TrailingZeros16(in), 1)
}

// texts writes a column of texts: their common length + 1 and an alphabet for each
// position, or 0, the column of lengths and one alphabet; then the symbols.
func (w *bitWriter) texts(texts []string) {
	if len(texts) == 0 {
		return
	}
	length := len(texts[0])
	for _, text := range texts {
		if len(text) != length {
			length = -1
			break
		}
	}
	w.number(uint64(length + 1))
	if length < 0 {
		w.unevenTexts(texts)
		return
	}
	for i := range length {
		n := alphabetOf(texts, i)
		w.put(uint64(n), 4)
		if n == oneSymbol {
			w.put(uint64(texts[0][i]), 8)
			continue
		}
		w.symbols(texts, i, n)
	}
}

// symbols writes the symbol at a position of each text.
func (w *bitWriter) symbols(texts []string, i, n int) {
	width, codes := uint(8), &itself
	if n != anyByte {
		width, codes = alphabets[n].width, &alphabets[n].codes
	}
	out, pending, filled := w.out, w.pending, w.filled
	for _, text := range texts {
		code := uint64(codes[text[i]])
		out, pending, filled = pack(out, pending, filled, code, width)
	}
	w.out, w.pending, w.filled = out, pending, filled
}

func (w *bitWriter) unevenTexts(texts []string) {
	lengths := make([]uint64, len(texts))
	for i, text := range texts {
		lengths[i] = uint64(len(text))
	}
	w.numbers(lengths)
	n := alphabetOf(texts, -1)
	w.put(uint64(n), 4)
	for _, text := range texts {
		for i := range len(text) {
			w.symbol(text[i], n)
		}
	}
}

func (w *bitWriter) symbol(c byte, n int) {
	if n == anyByte {
		w.put(uint64(c), 8)
	} else {
		w.put(uint64(alphabets[n].codes[c]), alphabets[n].width)
	}
}
