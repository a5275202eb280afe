package event

// guess is what stood between two values of the outermost object of an earlier
// message: comma, key and colon, with their white space, and whose value came
// next. Messages of one producer have their keys in one order and one spelling,
// so the next message mostly has the same bytes in the same place, and comparing
// them is all there is to do. JSON's grammar does not look back: what those bytes
// meant after a value they mean again. Decoding an event took 0.26 µs
// without, and 0.19 with. Two guesses for each place make room for a field
// that not every message has.
type guess struct {
	text   [maxGuess]byte
	length int // 0: none
	member *member
}

// maxGuess is the longest text that is remembered.
const maxGuess = 40

// guess gives the member whose value follows the bytes at i, and where they end;
// nil where nothing is known. last numbers the member before.
func (d *Decoder) guess(last, i int) (*member, int) {
	for g := range d.guesses[last] {
		guess := &d.guesses[last][g]
		end := i + guess.length
		if guess.length > 0 && end <= len(d.data) && string(d.data[i:end]) == string(guess.text[:guess.length]) {
			return guess.member, end
		}
	}
	return nil, 0
}

// learn remembers that the bytes from from to to led to m.
func (d *Decoder) learn(last int, m *member, from, to int) {
	if to-from > maxGuess {
		return
	}
	g := &d.guesses[last]
	g[1] = g[0]
	g[0].length, g[0].member = copy(g[0].text[:], d.data[from:to]), m
}
