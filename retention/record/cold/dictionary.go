package cold

import (
	"hash/maphash"
	"iter"
	"unsafe"
)

// dictionary numbers texts in the order in which they come, and finds them again by their
// hashes: open addressing, at most half full. Of accounts and words a shard has many
// records, so they are compared where they are added and nowhere else.
type dictionary struct {
	slots  []slot
	all    []entry
	text   []byte // of all, side by side
	looked byte   // see look
}

type entry struct {
	text   uint32 // where it begins
	length uint32
	hash   uint32
}

type slot struct{ hash, number uint32 } // number and 1; 0: empty

// seed is the same for all, so that equal records are in equal order, and drawn, so that
// nobody can choose texts whose hashes collide.
var seed = maphash.MakeSeed()

func hashOf(text string) uint32 { return uint32(maphash.String(seed, text) >> 32) }

// number gives the number of a text of that hash.
func (d *dictionary) number(text string, hash uint32) uint32 {
	if 2*len(d.all) >= len(d.slots) {
		d.slots = make([]slot, max(2*len(d.slots), 1<<10))
		d.place()
	}
	at := d.at(hash)
	for ; d.slots[at].number != 0; at = d.at(at + 1) {
		if s := d.slots[at]; s.hash == hash && d.get(s.number-1) == text {
			return s.number - 1
		}
	}
	d.all = append(d.all, entry{uint32(len(d.text)), uint32(len(text)), hash})
	d.text = append(d.text, text...)
	d.slots[at] = slot{hash, uint32(len(d.all))}
	return uint32(len(d.all) - 1)
}

// look looks at the places of hashes, and at the texts there: the processor waits for many
// lines of memory at once, and not for each when it is looked up.
func (d *dictionary) look(hashes []uint32) {
	if len(d.slots) == 0 {
		return
	}
	looked := byte(0)
	for _, hash := range hashes {
		if s := d.slots[d.at(hash)]; s.number != 0 {
			if of := d.all[s.number-1]; of.length > 0 {
				looked += d.text[of.text]
			}
		}
	}
	d.looked = looked // else the compiler would leave all looking out
}

func (d *dictionary) at(hash uint32) uint32 { return hash & uint32(len(d.slots)-1) }

// get gives a text: a slice of what wipe erases.
func (d *dictionary) get(number uint32) string {
	return view(d.text, d.all[number].text, d.all[number].length)
}

// place fills the table.
func (d *dictionary) place() {
	for i := range d.all {
		at := d.at(d.all[i].hash)
		for d.slots[at].number != 0 {
			at = d.at(at + 1)
		}
		d.slots[at] = slot{d.all[i].hash, uint32(i + 1)}
	}
}

// keep drops those whose number says 0, and writes into numbers what the others have from
// now on.
func (d *dictionary) keep(numbers []uint32) {
	size, n := 0, 0
	for i, used := range numbers {
		if of := d.all[i]; used != 0 { // all move towards the front
			from := of.text
			of.text = uint32(size)
			size += copy(d.text[size:], d.text[from:from+of.length])
			d.all[n], numbers[i] = of, uint32(n)
			n++
		}
	}
	clear(d.text[size:])
	clear(d.all[n:])
	clear(d.slots)
	d.text, d.all = d.text[:size], d.all[:n]
	d.place()
}

func (d *dictionary) wipe() {
	clear(d.slots)
	clear(d.all)
	clear(d.text)
	d.all, d.text = d.all[:0], d.text[:0]
}

// Accounts are all accounts that were added, by their numbers.
func (r *Rows) Accounts() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i := range r.accounts.all {
			if !yield(i, r.accounts.get(uint32(i))) {
				return
			}
		}
	}
}

// EachAccount calls visit with the numbers of the accounts of rows in their order, not
// twice in a row with one.
func (r *Rows) EachAccount(rows []Row, visit func(number uint32)) {
	for i := range rows {
		if of := rows[i].account; i == 0 || of != rows[i-1].account {
			visit(of)
		}
	}
}

func view(text []byte, at, length uint32) string {
	if length == 0 {
		return ""
	}
	return unsafe.String(&text[at], int(length))
}
