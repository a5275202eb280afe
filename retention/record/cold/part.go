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
	from, to *row
	most     int // rows; 0: no limit
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

func (p *part) has(r *row) bool {
	return (p.from == nil || r.order(p.from) >= 0) && (p.to == nil || r.order(p.to) < 0)
}

// order is that of Sort.
func (r *row) order(other *row) int {
	return cmp.Or(
		cmp.Compare(r.key(), other.key()), cmp.Compare(r.upper, other.upper), cmp.Compare(r.lower, other.lower),
		cmp.Compare(r.who, other.who), cmp.Compare(r.time, other.time), r.compare(other),
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
		kept = kept[:len(kept)/2]
		end := r.rows[r.order[len(kept)]]
		r.part.to = &end
	}
	slices.Sort(kept) // the order of adding: a row and its text only move towards the front
	size := 0
	for i, at := range kept {
		of := r.rows[at]
		moved := copy(r.text[size:], r.text[of.text:of.text+uint32(of.session)])
		of.text = uint32(size)
		size += moved
		r.rows[i] = of
	}
	r.cut(len(kept), size)
	numbers := make([]uint32, len(r.accounts.all))
	for i := range r.rows {
		numbers[r.rows[i].account] = 1
	}
	r.accounts.keep(numbers)
	for i := range r.rows {
		r.rows[i].account = numbers[r.rows[i].account]
	}
	r.keepWords()
}

// keepWords drops words that no row has.
func (r *Rows) keepWords() {
	numbers := make([]uint32, len(r.words.all))
	for i := range r.rows {
		for _, word := range r.rows[i].words() {
			numbers[*word] = 1
		}
	}
	r.words.keep(numbers)
	for i := range r.rows {
		for _, word := range r.rows[i].words() {
			*word = numbers[*word]
		}
	}
}

func (r *row) words() [5]*uint32 {
	return [...]*uint32{&r.server, &r.transport, &r.client, &r.event, &r.outcome}
}

// cut erases rows and text from there on.
func (r *Rows) cut(rows, text int) {
	clear(r.rows[rows:])
	clear(r.text[text:])
	r.rows, r.text = r.rows[:rows], r.text[:text]
}
