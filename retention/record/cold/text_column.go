package cold

// texts is where a column of texts is: of texts of one length each position has its
// symbols side by side, so any text can be read without those before it.
type texts struct {
	n      int
	length int       // of each text, where uneven is not set
	places []symbols // of texts of one length: each position
	uneven bool
	all    symbols  // of the others, one text behind the other
	ends   []uint64 // where each ends, in symbols
}

// symbols are the symbols of one alphabet, side by side.
type symbols struct {
	at, kind int
	only     byte // where kind is oneSymbol
}

// texts goes behind a column of n texts, of which it reads no more than how they are
// written. It keeps the memory of t.
func (r *bitReader) texts(t *texts, n int) {
	*t = texts{n: n, places: t.places[:0], ends: t.ends[:0]}
	if n == 0 {
		return
	}
	length := r.count(maxTextSize+1) - 1
	if t.uneven = length < 0; t.uneven {
		r.unevenTexts(t)
		return
	}
	t.length = length
	for range length {
		t.places = append(t.places, r.symbols(n, true))
	}
}

// symbols goes behind n symbols.
func (r *bitReader) symbols(n int, one bool) (s symbols) {
	s.kind = int(r.take(4))
	switch {
	case s.kind == oneSymbol && one:
		s.only = byte(r.take(8))
	case s.kind != anyByte && (s.kind >= len(alphabets) || s.kind == oneSymbol):
		r.fail()
	default:
		s.at = r.skip(n * int(s.width()))
	}
	return s
}

func (s *symbols) width() uint {
	if s.kind == anyByte {
		return 8
	}
	return alphabets[s.kind].width
}

func (r *bitReader) unevenTexts(t *texts) {
	t.ends = r.numbers(t.ends, t.n)
	total := uint64(0)
	for i, length := range t.ends {
		if total += length; length > maxTextSize || total > uint64(r.left()) {
			r.fail()
			clear(t.ends)
			return
		}
		t.ends[i] = total
	}
	t.all = r.symbols(int(total), false)
}

// size is how many symbols a text has.
func (t *texts) size(i int) int {
	switch {
	case !t.uneven:
		return t.length
	case i == 0:
		return int(t.ends[0])
	}
	return int(t.ends[i] - t.ends[i-1])
}

// appendText appends text i to dst.
func (r *bitReader) appendText(dst []byte, t *texts, i int) []byte {
	switch {
	case r.failed:
	case t.uneven:
		end := int(t.ends[i])
		for j := end - t.size(i); j < end; j++ {
			dst = append(dst, r.symbol(&t.all, j))
		}
	default:
		for j := range t.places {
			dst = append(dst, r.symbol(&t.places[j], i))
		}
	}
	return dst
}

// symbol gives one of them.
func (r *bitReader) symbol(s *symbols, i int) byte {
	switch s.kind {
	case oneSymbol:
		return s.only
	case anyByte:
		return byte(r.peek(s.at+8*i, 8))
	}
	a := &alphabets[s.kind]
	code := r.peek(s.at+i*int(a.width), a.width)
	if code >= uint64(len(a.symbols)) {
		r.fail()
		return 0
	}
	return a.symbols[code]
}

// find gives the number of a text, −1 where it is none of the column. It mostly looks at
// a symbol or two of each.
func (r *bitReader) find(t *texts, text string) int {
	if !t.uneven && t.length != len(text) {
		return -1
	}
	var scratch [maxTextSize]byte
	for i := range t.n {
		if t.uneven {
			if string(r.appendText(scratch[:0], t, i)) == text {
				return i
			}
			continue
		}
		same := 0
		for same < len(text) && r.symbol(&t.places[same], i) == text[same] {
			same++
		}
		if same == len(text) {
			return i
		}
	}
	return -1
}
