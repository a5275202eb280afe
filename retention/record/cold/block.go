package cold

import (
	"cmp"
	"slices"

	"mayfly/retention/record"
)

// Encoder writes blocks. It keeps scratch space between calls, so use one per
// goroutine. The same rows and clock give the same bytes.
type Encoder struct {
	w        bitWriter
	in       *Rows
	rows     []Row // of the block
	groups   []int // the first row of each, and the end
	column   []uint64
	more     []uint64
	sizes    []uint64 // of putPorts
	distinct []uint64 // of putFew
	flags    []bool
	texts    []string
	seen     []seen // of the words of in, or of its accounts
	marks    uint32 // columns of these so far
	kinds    []kind
	looked   byte // see look
}

// kind is what the rows of a connection differ in, besides time and identity.
type kind struct {
	event, outcome string
	since          bool
	rows           int // with it, while encoding
}

// seen is which of the texts of a column one is; mark is that column's.
type seen struct{ mark, number uint32 }

// Append encodes rows of in, 1 to MaxRows of them side by side as Sort gives them, after
// dst. The clock must be of the same rows.
func (e *Encoder) Append(dst []byte, in *Rows, rows []Row, clock *Clock) []byte {
	e.w = bitWriter{out: append(dst, formatVersion)}
	e.in, e.rows = in, rows
	e.look()
	e.group()
	addresses := e.addresses()
	e.w.number(uint64(len(e.rows)))
	e.w.number(uint64(len(e.groups) - 1))
	e.w.number(uint64(len(addresses) - 1))
	e.putAddresses(addresses)
	e.putCounts(addresses)
	e.putAccounts()
	e.putSessions()
	for field := range shared {
		e.putShared(field)
	}
	e.putPorts()
	e.putSince()
	e.putKinds()
	e.putTimes()
	e.putIDs(clock)
	clear(e.texts[:cap(e.texts)]) // the block's records are not to linger here
	clear(e.kinds)
	e.in, e.rows = nil, nil
	return e.w.finish()
}

// look looks at the sessions. They lie scattered; here the processor waits for many lines of
// memory at once, and not for each when it is compared.
func (e *Encoder) look() {
	looked := byte(0)
	for i := range e.rows {
		if r := &e.rows[i]; r.session > 0 {
			looked += e.in.text[r.text]
		}
	}
	e.looked = looked // else the compiler would leave all looking out
}

// shared are the text fields of a group that have few values in a block.
var shared = [...]func(*record.Record) *string{
	func(r *record.Record) *string { return &r.Server },
	func(r *record.Record) *string { return &r.Transport },
	func(r *record.Record) *string { return &r.Client },
}

// group finds the groups of rows. A row whose beginning is not known belongs to the
// connection around it.
func (e *Encoder) group() {
	e.groups = append(e.groups[:0], 0)
	since := e.rows[0].since
	for i := 1; i < len(e.rows); i++ {
		a, b := &e.rows[i-1], &e.rows[i]
		if !e.alike(a, b) || since != 0 && b.since != 0 && since != b.since {
			e.groups = append(e.groups, i)
			since = 0
		}
		since = cmp.Or(since, b.since)
	}
	e.groups = append(e.groups, len(e.rows))
}

// alike reports whether two rows can be of one group.
func (e *Encoder) alike(a, b *Row) bool {
	return a.who == b.who && a.account == b.account && a.address == b.address &&
		a.first == b.first && a.last == b.last && a.shared == b.shared && e.in.sessionOf(a) == e.in.sessionOf(b)
}

// addresses lists the groups at which another address begins, and their end.
func (e *Encoder) addresses() []int {
	var firsts []int
	for g, row := range e.groups[:len(e.groups)-1] {
		if g == 0 || e.rows[row].address != e.rows[row-1].address {
			firsts = append(firsts, g)
		}
	}
	return append(firsts, len(e.groups)-1)
}

// putAddresses writes the number of IPv4 addresses, and how each address differs from the one before.
func (e *Encoder) putAddresses(addresses []int) {
	e.column, e.more = e.column[:0], e.more[:0]
	var previous uint64
	four := 0
	flush := func() {
		if len(e.column) > 0 {
			e.w.number(e.column[0])
			e.w.numbers(e.column[1:])
		}
		e.column, previous = e.column[:0], 0
	}
	for _, g := range addresses[:len(addresses)-1] {
		if e.place(g).four {
			four++
		}
	}
	e.w.number(uint64(four))
	for i, g := range addresses[:len(addresses)-1] {
		at := e.place(g)
		if i == four {
			flush()
		}
		if i >= four {
			e.more = append(e.more, at.lower)
		}
		e.column = append(e.column, at.upper-previous)
		previous = at.upper
	}
	flush()
	e.w.numbers(e.more)
}

// place is that of the address of a group.
func (e *Encoder) place(group int) *place { return &e.in.places[e.rows[e.groups[group]].address] }

// putCounts writes the groups of each address and the rows of each group, less one.
func (e *Encoder) putCounts(addresses []int) {
	for _, bounds := range [][]int{addresses, e.groups} {
		e.column = e.column[:0]
		for i := 1; i < len(bounds); i++ {
			e.column = append(e.column, uint64(bounds[i]-bounds[i-1]-1))
		}
		e.w.numbers(e.column)
	}
}

// begin begins a column of some of so many texts.
func (e *Encoder) begin(texts int) {
	if len(e.seen) < texts {
		e.seen = make([]seen, texts+texts/4)
	}
	e.marks++
	e.texts = e.texts[:0]
}

// number numbers the texts of a column in the order in which they appear first.
func (e *Encoder) number(which uint32) (number uint64, isNew bool) {
	s := &e.seen[which]
	if isNew = s.mark != e.marks; isNew {
		*s = seen{e.marks, uint32(len(e.texts))}
	}
	return uint64(s.number), isNew
}

func (e *Encoder) putAccounts() {
	e.begin(len(e.in.accounts.all))
	e.column, e.flags = e.column[:0], e.flags[:0]
	for g, row := range e.groups[:len(e.groups)-1] {
		account := e.rows[row].account
		same := g > 0 && account == e.rows[row-1].account
		e.w.flag(same)
		if same {
			continue
		}
		number, isNew := e.number(account)
		e.flags = append(e.flags, isNew)
		if isNew {
			e.texts = append(e.texts, e.in.accounts.get(account))
		} else {
			e.column = append(e.column, number)
		}
	}
	e.w.flags(e.flags)
	e.w.numbers(e.column)
	e.w.texts(e.texts)
}

func (e *Encoder) putSessions() {
	e.texts, e.flags = e.texts[:0], e.flags[:0]
	last := ""
	for _, row := range e.groups[:len(e.groups)-1] {
		session := e.in.sessionOf(&e.rows[row])
		isNew := session != "" && session != last
		e.w.flag(isNew)
		if isNew {
			e.texts = append(e.texts, session)
			last = session
		} else {
			e.flags = append(e.flags, session == "")
		}
	}
	e.w.flags(e.flags)
	e.w.texts(e.texts)
}

func (e *Encoder) putShared(field int) {
	e.begin(len(e.in.words.all))
	e.column = e.column[:0]
	for _, first := range e.groups[:len(e.groups)-1] {
		word := e.in.shared.all[e.rows[first].shared][field]
		number, isNew := e.number(word)
		if isNew {
			e.texts = append(e.texts, e.in.words.get(word))
		}
		e.column = append(e.column, number)
	}
	e.w.number(uint64(len(e.texts)))
	e.w.texts(e.texts)
	e.w.numbers(e.column)
}

// putPorts writes a bit per group, 1 for the ports of the group before; for the
// others the size of the block of ports, 0 for none, and the first port, apart for
// single ports and for blocks.
func (e *Encoder) putPorts() {
	e.column, e.more = e.column[:0], e.more[:0]
	sizes := e.sizes[:0]
	for g, row := range e.groups[:len(e.groups)-1] {
		p, before := &e.rows[row], &e.rows[max(row-1, 0)]
		known := e.in.shared.all[p.shared][portsKnown] != 0
		same := g > 0 && p.first == before.first && p.last == before.last && known == (e.in.shared.all[before.shared][portsKnown] != 0)
		e.w.flag(same)
		switch {
		case same:
		case !known:
			sizes = append(sizes, 0)
		default:
			size := uint64(p.last-p.first) + 1
			sizes = append(sizes, size)
			if size == 1 {
				e.column = append(e.column, uint64(p.first))
			} else {
				e.more = append(e.more, uint64(p.first))
			}
		}
	}
	e.sizes = sizes
	e.putFew(sizes)
	e.w.numbers(e.column)
	e.w.numbers(e.more)
}

// putFew writes a column of numbers that has few distinct values; it leaves in values
// which of these each was.
func (e *Encoder) putFew(values []uint64) {
	if len(values) == 0 {
		return
	}
	e.distinct = append(e.distinct[:0], values...)
	slices.Sort(e.distinct)
	distinct := slices.Compact(e.distinct)
	e.w.number(uint64(len(distinct)))
	e.w.numbers(distinct)
	for i, v := range values {
		n, _ := slices.BinarySearch(distinct, v)
		values[i] = uint64(n)
	}
	e.w.numbers(values)
}

func (e *Encoder) putSince() {
	e.column = e.column[:0]
	for g := range len(e.groups) - 1 {
		since := sinceOf(e.rows[e.groups[g]:e.groups[g+1]])
		e.w.flag(since != 0)
		if since != 0 {
			e.column = append(e.column, zigzag(e.rows[e.groups[g]].time-since))
		}
	}
	e.w.numbers(e.column)
}

func sinceOf(group []Row) int64 {
	for i := range group {
		if r := &group[i]; r.since != 0 {
			return r.since
		}
	}
	return 0
}

// putKinds writes the kinds, the frequent first, and each row's.
func (e *Encoder) putKinds() {
	e.begin(len(e.in.kinds.all))
	e.kinds, e.column = e.kinds[:0], e.column[:0]
	for i := range e.rows {
		of := e.rows[i].kind
		s := &e.seen[of]
		if s.mark != e.marks {
			*s = seen{e.marks, uint32(len(e.kinds))}
			k := &e.in.kinds.all[of]
			e.kinds = append(e.kinds, kind{event: e.in.words.get(k[0]), outcome: e.in.words.get(k[1]), since: k[2] != 0})
		}
		e.kinds[s.number].rows++
		e.column = append(e.column, uint64(s.number))
	}
	var order []int
	for i := range e.kinds {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return e.kinds[a].compare(&e.kinds[b]) })
	e.w.number(uint64(len(order)))
	places := make([]uint64, len(order))
	for place, i := range order {
		k := &e.kinds[i]
		e.w.flag(k.since)
		e.texts = append(e.texts, k.event, k.outcome)
		places[i] = uint64(place)
	}
	e.w.texts(e.texts)
	for i := range e.column {
		e.column[i] = places[e.column[i]]
	}
	e.w.numbers(e.column)
}

func (k *kind) compare(other *kind) int {
	return cmp.Or(
		cmp.Compare(other.rows, k.rows), cmp.Compare(k.event, other.event),
		cmp.Compare(k.outcome, other.outcome), int(flag(k.since))-int(flag(other.since)),
	)
}

func (e *Encoder) putTimes() {
	e.column, e.more = e.column[:0], e.more[:0]
	for g := range len(e.groups) - 1 {
		group := e.rows[e.groups[g]:e.groups[g+1]]
		e.column = append(e.column, uint64(group[0].time))
		for i := 1; i < len(group); i++ {
			e.more = append(e.more, uint64(group[i].time-group[i-1].time))
		}
	}
	e.w.numbers(e.column)
	e.w.numbers(e.more)
}

// putIDs writes partitions per group where each group has but one.
func (e *Encoder) putIDs(clock *Clock) {
	e.column, e.more = e.column[:0], e.more[:0]
	perGroup := true
	g := 0
	for i := range e.rows {
		r := &e.rows[i]
		if i == e.groups[g] {
			g++
		} else if uint64(r.partition) != e.column[i-1] {
			perGroup = false
		}
		e.column = append(e.column, uint64(r.partition))
		e.more = append(e.more, zigzag(r.offset-clock.guess(int(r.partition), r.time)))
	}
	e.w.flag(perGroup)
	if perGroup {
		for g, row := range e.groups[:len(e.groups)-1] {
			e.column[g] = e.column[row]
		}
		e.column = e.column[:len(e.groups)-1]
	}
	e.w.numbers(e.column)
	e.w.numbers(e.more)
	e.column = e.column[:0]
	for i := range e.rows {
		e.column = append(e.column, uint64(e.rows[i].index))
	}
	e.w.numbers(e.column)
}
