package record

import "unsafe"

// Words has texts that are mostly one of a few values, each once: those of all the Rows
// of a partition that are not sealed yet. The zero value is empty.
type Words struct {
	current *wordTable
	full    []*wordTable
}

// table gives one that has room for the words of a record.
func (w *Words) table() *wordTable {
	if w.current != nil && len(w.current.values)+len(row{}.words) > cap(w.current.values) {
		w.full = append(w.full, w.current)
		w.current = nil
	}
	if w.current == nil {
		w.current = &wordTable{index: newIndex(), values: append(make([]string, 0, 1+maxValues), "")}
	}
	return w.current
}

// Erase overwrites the words. All Rows that had them were released.
func (w *Words) Erase() {
	if w.current != nil {
		w.current.erase()
	}
	for _, t := range w.full {
		t.erase()
	}
	w.full = nil
}

// wordTable numbers words from 1 on; 0 is the empty one.
type wordTable struct {
	index  index
	values []string // slices of texts, none of which moves
	texts  [][]byte
	size   int       // of all values
	latest [64]uint8 // numbers found, by first and last character and length: quicker than the index
}

// wordsAtOnce is how many bytes of words room is made for at a time.
const wordsAtOnce = 4 << 10

// numbers numbers the words of a record, or reports that there are too many.
func (t *wordTable) numbers(r *Record) (n [5]uint8, ok bool) {
	ok = t.number(&n[wordEvent], r.Event) && t.number(&n[wordServer], r.Server)
	if len(r.Transport)|len(r.Client)|len(r.Outcome) != 0 {
		ok = ok && t.number(&n[wordTransport], r.Transport) && t.number(&n[wordClient], r.Client) && t.number(&n[wordOutcome], r.Outcome)
	}
	return n, ok
}

func (t *wordTable) number(n *uint8, word string) bool {
	if word == "" {
		return true
	}
	latest := &t.latest[(int(word[0])+5*int(word[len(word)-1])+3*len(word))%len(t.latest)]
	if t.values[*latest] != word {
		slot, number := t.index.find(t.values[1:], word)
		if number == 0 {
			if len(t.values) == cap(t.values) {
				return false
			}
			number = byte(len(t.values))
			t.values = append(t.values, t.keep(word))
			t.index.slots[slot] = number
		}
		*latest = number
	}
	*n = *latest
	return true
}

// keep copies a word.
func (t *wordTable) keep(word string) string {
	last := len(t.texts) - 1
	if last < 0 || cap(t.texts[last])-len(t.texts[last]) < len(word) {
		t.texts = append(t.texts, make([]byte, 0, max(wordsAtOnce, len(word))))
		last++
	}
	from := len(t.texts[last])
	t.texts[last] = append(t.texts[last], word...)
	t.size += len(word)
	return unsafe.String(&t.texts[last][from], len(word))
}

func (t *wordTable) erase() {
	clear(t.index.slots[:])
	clear(t.latest[:])
	clear(t.values)
	t.values = t.values[:1]
	for _, text := range t.texts {
		clear(text)
	}
	if t.size = 0; len(t.texts) > 0 {
		t.texts = append(t.texts[:0:1], t.texts[0][:0])
	}
}

// appendWords writes the column of a kind of words. Rows whose words have numbers need
// no look at the words themselves, but for the first of each: with a look at each, if
// only at where it lies, an event took 0.01 µs more.
func (e *Encoder) appendWords(dst []byte, kind int) []byte {
	switch {
	case kind >= wordTransport && !e.others: // as ever where no policy keeps them
		return appendString(append(dst, stringsSame), "")
	case e.records != nil:
		return e.appendStrings(dst, e.wordColumn(kind))
	case e.numberWords(kind):
		return e.appendNumbered(dst)
	}
	return e.appendUnlike(dst, e.wordColumn(kind))
}

// numberWords is buildDictionary for words.
func (e *Encoder) numberWords(kind int) bool {
	most, i := e.emptyDictionary(len(e.rows)), 0
	for _, s := range e.spans {
		var known [1 + maxValues]byte // numbers of the table's words, counting from 1
		for ; i < s.end; i++ {
			if i == trialRows && len(e.values) > trialRows*15/16 {
				return false
			}
			word := e.rows[i].words[kind]
			if known[word] == 0 {
				var ok bool
				if known[word], ok = e.numberOf(s.words.values[word], most); !ok {
					return false
				}
			}
			e.numbers[i] = uint64(known[word] - 1)
		}
	}
	return true
}

// wordColumn is the words of a kind themselves.
func (e *Encoder) wordColumn(kind int) []string {
	e.words = resize(&e.words, len(e.rows))
	if e.records != nil {
		field := stringColumns[[...]int{wordEvent: 1, wordServer: 3, wordTransport: 4, wordClient: 5, wordOutcome: 6}[kind]]
		for i, r := range e.records {
			e.words[i] = *field(r)
		}
		return e.words
	}
	i := 0
	for _, s := range e.spans {
		for ; i < s.end; i++ {
			e.words[i] = s.words.values[e.rows[i].words[kind]]
		}
	}
	return e.words
}
