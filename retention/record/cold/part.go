package cold

import (
	"cmp"
	"slices"
)

// What does not fit in memory is sorted in parts. Everything is added once for each
// part, and Rows keeps what lies behind the part before, and of that as much from the
// front of the order as there is room for.

// part is the bounds of what is kept: from the row from on, up to but without the row to.
// Where they are nil there is no bound.
type part struct {
	from, to *bound
	most     int // rows; 0: no limit
}

// bound is a row, and where its address is.
type bound struct {
	place
	row Row
}

// textOfRow is about the most bytes that the texts of a row take on the average.
const textOfRow = 96

// First begins the first part; no part is to have more than most rows by much.
func (r *Rows) First(most int) {
	r.Wipe()
	r.part = part{most: most}
}

// Next begins the next part: false where the part before was the last.
func (r *Rows) Next() bool {
	next := part{from: r.part.to, most: r.part.most}
	if next.from == nil {
		return false
	}
	r.empty() // partitions keep their numbers: these are part of the order
	r.part = next
	return true
}

// Wants reports whether a block with such bounds can have rows of the part.
func (r *Rows) Wants(b Bounds) bool {
	return (r.part.from == nil || b.Last >= r.part.from.key()) && (r.part.to == nil || b.First <= r.part.to.key())
}

func (p *part) whole() bool { return p.from == nil && p.to == nil }

func (p *part) has(r bound) bool {
	return (p.from == nil || r.order(p.from) >= 0) && (p.to == nil || r.order(p.to) < 0)
}

// order is that of Sort.
func (b *bound) order(other *bound) int {
	return cmp.Or(
		b.place.compare(&other.place), cmp.Compare(b.row.who, other.row.who), cmp.Compare(b.row.time, other.row.time),
		b.row.compare(&other.row),
	)
}

func (r *Rows) full() bool {
	return r.part.most > 0 && (len(r.rows) >= r.part.most || r.texts() >= textOfRow*r.part.most)
}

// texts is how many bytes they take. Words are mostly few, but nobody promises it.
func (r *Rows) texts() int { return len(r.text) + len(r.accounts.text) + len(r.words.text) }

// shrink drops repeats, and where that is not enough the half of the rows that comes
// last: a part that comes later will have them.
func (r *Rows) shrink() {
	if r.keepWords(); !r.full() {
		return // the words of rows that are not of the part had filled it
	}
	kept := r.Sort()
	if len(kept) > max(r.part.most*3/4, 1) || len(kept) > 1 && r.texts() >= textOfRow*r.part.most {
		end := kept[len(kept)/2]
		r.part.to = &bound{r.places[end.address], end}
		kept = kept[:len(kept)/2]
	}
	slices.SortFunc(kept, func(a, b Row) int { return cmp.Compare(a.text, b.text) }) // the order of adding: texts only move towards the front
	accounts, addresses := make([]uint32, len(r.accounts.all)), make([]uint32, len(r.addresses.all))
	for i := range kept {
		accounts[kept[i].account], addresses[kept[i].address] = 1, 1
	}
	r.accounts.keep(accounts)
	r.addresses.keep(addresses)
	size := 0
	for i, of := range kept {
		moved := copy(r.text[size:], r.text[of.text:of.text+uint32(of.session)])
		of.text, of.account, of.address = uint32(size), accounts[of.account], addresses[of.address]
		size += moved
		r.rows[i], r.located[i] = of, of.address
	}
	r.cut(len(kept), size)
	r.forget()
	r.keepWords()
}

// keepWords drops words that no row has.
func (r *Rows) keepWords() {
	shared, kinds := make([]uint32, len(r.shared.all)), make([]uint32, len(r.kinds.all))
	for i := range r.rows {
		shared[r.rows[i].shared], kinds[r.rows[i].kind] = 1, 1
	}
	r.shared.keep(shared)
	r.kinds.keep(kinds)
	for i := range r.rows {
		of := &r.rows[i]
		of.shared, of.kind = shared[of.shared], kinds[of.kind]
	}
	numbers := make([]uint32, len(r.words.all))
	r.eachWord(func(word *uint32) { numbers[*word] = 1 })
	r.words.keep(numbers)
	r.eachWord(func(word *uint32) { *word = numbers[*word] })
	r.shared.place()
	r.kinds.place()
}

func (r *Rows) eachWord(visit func(*uint32)) {
	for i := range r.shared.all {
		for field := range shared {
			visit(&r.shared.all[i][field])
		}
	}
	for i := range r.kinds.all {
		visit(&r.kinds.all[i][0])
		visit(&r.kinds.all[i][1])
	}
}

// cut erases rows and text from there on.
func (r *Rows) cut(rows, text int) {
	clear(r.rows[rows:])
	clear(r.text[text:])
	r.rows, r.located, r.text = r.rows[:rows], r.located[:rows], r.text[:text]
}
