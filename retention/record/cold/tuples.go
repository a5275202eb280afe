package cold

// tuples numbers words that come together, of which a shard has few.
type tuples struct {
	all     []tuple
	numbers map[tuple]uint32
	recent  [1 << 8]uint32 // numbers and 1, by what was looked for lately
}

type tuple [4]uint32

// number gives the number of a tuple. Mostly it was looked for lately, and a map is not asked.
func (t *tuples) number(of tuple) uint32 {
	recent := &t.recent[(of[0]+of[1]<<3+of[2]<<5+of[3]<<7)%uint32(len(t.recent))]
	if n := *recent; n != 0 && t.all[n-1] == of {
		return n - 1
	}
	n, ok := t.numbers[of]
	if !ok {
		if t.numbers == nil {
			t.numbers = map[tuple]uint32{}
		}
		n = uint32(len(t.all))
		t.all = append(t.all, of)
		t.numbers[of] = n
	}
	*recent = n + 1
	return n
}

// keep drops those whose number says 0, and writes into numbers what the others have from
// now on. They may change until place is called.
func (t *tuples) keep(numbers []uint32) {
	n := 0
	for i, used := range numbers {
		if used != 0 {
			t.all[n], numbers[i] = t.all[i], uint32(n)
			n++
		}
	}
	clear(t.all[n:])
	t.all = t.all[:n]
}

// place has number find what was kept.
func (t *tuples) place() {
	clear(t.numbers)
	clear(t.recent[:])
	for i, of := range t.all {
		t.numbers[of] = uint32(i)
	}
}

func (t *tuples) wipe() {
	clear(t.all)
	clear(t.numbers)
	clear(t.recent[:])
	t.all = t.all[:0]
}
