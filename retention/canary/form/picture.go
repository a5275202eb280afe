package form

import (
	"errors"
	"math"
	"strings"
	"unicode/utf8"
)

// Picture is the shape of account ids: '#' stands for a digit, '@' for a letter
// a to z, '%' for a hexadecimal digit; everything else for itself.
//
//	user-########                           numbers
//	%%%%%%%%-%%%%-4%%%-8%%%-%%%%%%%%%%%%    UUIDs
type Picture struct {
	text  string
	holes []int // indices of the variable symbols
}

var alphabets = map[byte]string{'#': "0123456789", '@': "abcdefghijklmnopqrstuvwxyz", '%': "0123456789abcdef"}

// maxAccount is the longest account of an event, in bytes.
const maxAccount = 128

// ParsePicture checks a picture.
func ParsePicture(text string) (Picture, error) {
	p := Picture{text: text}
	for i := range len(text) {
		if alphabets[text[i]] != "" {
			p.holes = append(p.holes, i)
		}
	}
	switch {
	case len(text) > maxAccount || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Picture{}, errors.New("an account has at most 128 bytes of plain text")
	case len(p.holes) < 4:
		return Picture{}, errors.New("the shape of accounts needs at least four variable symbols: # digit, @ letter, % hexadecimal digit, as in user-########")
	}
	return p, nil
}

// Holes is the number of variable symbols.
func (p Picture) Holes() int { return len(p.holes) }

// Bits is the randomness of the variable symbols from the from-th on.
func (p Picture) Bits(from int) float64 {
	bits := 0.0
	for _, at := range p.holes[from:] {
		bits += math.Log2(float64(len(alphabets[p.text[at]])))
	}
	return bits
}

// Fill puts a symbol into every hole, chosen by one element of random each.
func (p Picture) Fill(random []uint32) string {
	filled := []byte(p.text)
	for i, at := range p.holes {
		alphabet := alphabets[p.text[at]]
		filled[at] = alphabet[random[i]%uint32(len(alphabet))]
	}
	return string(filled)
}

// Read is the inverse of Fill: the index of each variable symbol in its alphabet.
// ok is false where the account has another shape.
func (p Picture) Read(account string) (indices []uint32, ok bool) {
	if len(account) != len(p.text) {
		return nil, false
	}
	for i := range len(account) {
		alphabet := alphabets[p.text[i]]
		if alphabet == "" {
			if account[i] != p.text[i] {
				return nil, false
			}
			continue
		}
		index := strings.IndexByte(alphabet, account[i])
		if index < 0 {
			return nil, false
		}
		indices = append(indices, uint32(index))
	}
	return indices, true
}
