package cold

import (
	"cmp"
	"encoding/binary"
	"slices"

	"mayfly/retention/record"
)

// Encoder writes blocks. It keeps scratch space between calls, so use one per
// goroutine. The same rows and clock give the same bytes.
type Encoder struct {
	w      bitWriter
	groups []int // the first row of each, and the end
	column []uint64
	more   []uint64
	texts  []string
	known  map[string]int
	kinds  []kind
}

// kind is what the rows of a connection differ in, besides time and identity.
type kind struct {
	event, outcome string
	since          bool
	rows           int // with it, while encoding
}

// Append encodes rows, 1 to MaxRows of them in the order of Compare, after dst.
// Their partitions must be clock's.
func (e *Encoder) Append(dst []byte, rows []*record.Record, clock *Clock) []byte {
	e.w = bitWriter{out: append(dst, formatVersion)}
	e.group(rows)
	addresses := e.addresses(rows)
	e.w.number(uint64(len(rows)))
	e.w.number(uint64(len(e.groups) - 1))
	e.w.number(uint64(len(addresses) - 1))
	e.putAddresses(rows, addresses)
	e.putCounts(addresses)
	e.putAccounts(rows)
	e.putSessions(rows)
	for _, field := range shared {
		e.putShared(rows, field)
	}
	e.putPorts(rows)
	e.putSince(rows)
	e.putKinds(rows)
	e.putTimes(rows)
	e.putIDs(rows, clock)
	clear(e.texts) // the block's accounts are not to linger here
	clear(e.known)
	clear(e.kinds)
	return e.w.finish()
}

// shared are the text fields of a group that have few values in a block.
var shared = [...]func(*record.Record) *string{
	func(r *record.Record) *string { return &r.Server },
	func(r *record.Record) *string { return &r.Transport },
	func(r *record.Record) *string { return &r.Client },
}

// group finds the groups of rows. A row whose beginning is not known belongs to the
// connection around it.
func (e *Encoder) group(rows []*record.Record) {
	e.groups = append(e.groups[:0], 0)
	since := rows[0].Since
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1], rows[i]
		if a.Session != b.Session || a.Account != b.Account || a.Address != b.Address || a.Ports != b.Ports ||
			a.Server != b.Server || a.Transport != b.Transport || a.Client != b.Client ||
			since != 0 && b.Since != 0 && since != b.Since {
			e.groups = append(e.groups, i)
			since = 0
		}
		since = cmp.Or(since, b.Since)
	}
	e.groups = append(e.groups, len(rows))
}

// addresses lists the groups at which another address begins, and their end.
func (e *Encoder) addresses(rows []*record.Record) []int {
	var firsts []int
	for g, row := range e.groups[:len(e.groups)-1] {
		if g == 0 || rows[row].Address != rows[e.groups[g-1]].Address {
			firsts = append(firsts, g)
		}
	}
	return append(firsts, len(e.groups)-1)
}

// putAddresses writes the number of IPv4 addresses, and how each address differs from the one before.
func (e *Encoder) putAddresses(rows []*record.Record, addresses []int) {
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
		ip := rows[e.groups[g]].Address.Reveal()
		if ip.Is4() {
			four++
		}
	}
	e.w.number(uint64(four))
	for i, g := range addresses[:len(addresses)-1] {
		ip := rows[e.groups[g]].Address.Reveal()
		if i == four {
			flush()
		}
		sixteen := ip.As16()
		upper := binary.BigEndian.Uint64(sixteen[:8])
		if i < four {
			upper = uint64(binary.BigEndian.Uint32(sixteen[12:]))
		} else {
			e.more = append(e.more, binary.BigEndian.Uint64(sixteen[8:]))
		}
		e.column = append(e.column, upper-previous)
		previous = upper
	}
	flush()
	e.w.numbers(e.more)
}

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

// index numbers values in the order in which they appear first.
func (e *Encoder) index(value string) (number int, isNew bool) {
	if e.known == nil {
		e.known = map[string]int{}
	}
	number, known := e.known[value]
	if !known {
		number = len(e.texts)
		e.known[value] = number
		e.texts = append(e.texts, value)
	}
	return number, !known
}

func (e *Encoder) putAccounts(rows []*record.Record) {
	clear(e.known)
	e.texts, e.column = e.texts[:0], e.column[:0]
	for g, row := range e.groups[:len(e.groups)-1] {
		account := rows[row].Account
		same := g > 0 && account == rows[e.groups[g-1]].Account
		e.w.flag(same)
		if same {
			continue
		}
		number, isNew := e.index(account)
		e.w.flag(isNew)
		if !isNew {
			e.column = append(e.column, uint64(number))
		}
	}
	e.w.numbers(e.column)
	e.w.texts(e.texts)
}

func (e *Encoder) putSessions(rows []*record.Record) {
	e.texts = e.texts[:0]
	for g, row := range e.groups[:len(e.groups)-1] {
		session := rows[row].Session
		switch {
		case session == "":
			e.w.put(3, 2)
		case g > 0 && session == rows[e.groups[g-1]].Session:
			e.w.put(1, 2)
		default:
			e.w.put(0, 1)
			e.texts = append(e.texts, session)
		}
	}
	e.w.texts(e.texts)
}

func (e *Encoder) putShared(rows []*record.Record, field func(*record.Record) *string) {
	clear(e.known)
	e.texts, e.column = e.texts[:0], e.column[:0]
	last, number := "", 0
	for g, row := range e.groups[:len(e.groups)-1] {
		if value := *field(rows[row]); g == 0 || value != last {
			number, _ = e.index(value)
			last = value
		}
		e.column = append(e.column, uint64(number))
	}
	e.w.number(uint64(len(e.texts)))
	e.w.texts(e.texts)
	e.w.numbers(e.column)
}

// putPorts writes a bit per group, 1 for the ports of the group before; for the
// others the size of the block of ports, 0 for none, and the first port, apart for
// single ports and for blocks.
func (e *Encoder) putPorts(rows []*record.Record) {
	e.column, e.more = e.column[:0], e.more[:0]
	var sizes []uint64
	for g, row := range e.groups[:len(e.groups)-1] {
		p := rows[row].Ports
		same := g > 0 && p == rows[e.groups[g-1]].Ports
		e.w.flag(same)
		switch {
		case same:
		case !p.Known:
			sizes = append(sizes, 0)
		default:
			size := uint64(p.Last-p.First) + 1
			sizes = append(sizes, size)
			if size == 1 {
				e.column = append(e.column, uint64(p.First))
			} else {
				e.more = append(e.more, uint64(p.First))
			}
		}
	}
	e.w.few(sizes)
	e.w.numbers(e.column)
	e.w.numbers(e.more)
}

// few writes a column of numbers that has few distinct values.
func (w *bitWriter) few(values []uint64) {
	if len(values) == 0 {
		return
	}
	distinct := slices.Clone(values)
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	w.number(uint64(len(distinct)))
	w.numbers(distinct)
	index := make([]uint64, len(values))
	for i, v := range values {
		n, _ := slices.BinarySearch(distinct, v)
		index[i] = uint64(n)
	}
	w.numbers(index)
}

func (e *Encoder) putSince(rows []*record.Record) {
	e.column = e.column[:0]
	for g := range len(e.groups) - 1 {
		since := sinceOf(rows[e.groups[g]:e.groups[g+1]])
		e.w.flag(since != 0)
		if since != 0 {
			e.column = append(e.column, zigzag(rows[e.groups[g]].Time-since))
		}
	}
	e.w.numbers(e.column)
}

func sinceOf(group []*record.Record) int64 {
	for _, r := range group {
		if r.Since != 0 {
			return r.Since
		}
	}
	return 0
}

// putKinds writes the kinds, the frequent first, and each row's.
func (e *Encoder) putKinds(rows []*record.Record) {
	e.kinds, e.column = e.kinds[:0], e.column[:0]
	for _, r := range rows {
		e.column = append(e.column, uint64(e.kindOf(r)))
	}
	var order []int
	for i := range e.kinds {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return e.kinds[a].compare(&e.kinds[b]) })
	e.w.number(uint64(len(order)))
	e.texts = e.texts[:0]
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

// kindOf counts a row's kind and gives its number. There are few: a search is
// quicker than a hash.
func (e *Encoder) kindOf(r *record.Record) int {
	for i := range e.kinds {
		if k := &e.kinds[i]; k.event == r.Event && k.outcome == r.Outcome && k.since == (r.Since != 0) {
			k.rows++
			return i
		}
	}
	e.kinds = append(e.kinds, kind{event: r.Event, outcome: r.Outcome, since: r.Since != 0, rows: 1})
	return len(e.kinds) - 1
}

func (k *kind) compare(other *kind) int {
	flag := func(set bool) int {
		if set {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(other.rows, k.rows), cmp.Compare(k.event, other.event),
		cmp.Compare(k.outcome, other.outcome), flag(k.since)-flag(other.since),
	)
}

func (e *Encoder) putTimes(rows []*record.Record) {
	e.column, e.more = e.column[:0], e.more[:0]
	for g := range len(e.groups) - 1 {
		group := rows[e.groups[g]:e.groups[g+1]]
		e.column = append(e.column, uint64(group[0].Time))
		for i := 1; i < len(group); i++ {
			e.more = append(e.more, uint64(group[i].Time-group[i-1].Time))
		}
	}
	e.w.numbers(e.column)
	e.w.numbers(e.more)
}

// putIDs writes partitions per group where each group has but one.
func (e *Encoder) putIDs(rows []*record.Record, clock *Clock) {
	e.column, e.more = e.column[:0], e.more[:0]
	perGroup := true
	last, partition := Partition{}, -1
	g := 0
	for i, r := range rows {
		if partition < 0 || r.ID.Partition != last.Number || r.ID.Topic != last.Topic {
			last = Partition{r.ID.Topic, r.ID.Partition}
			partition = clock.index[last]
		}
		if i == e.groups[g] {
			g++
		} else if uint64(partition) != e.column[i-1] {
			perGroup = false
		}
		e.column = append(e.column, uint64(partition))
		e.more = append(e.more, zigzag(r.ID.Offset-clock.guess(partition, r.Time)))
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
	for _, r := range rows {
		e.column = append(e.column, uint64(r.ID.Index))
	}
	e.w.numbers(e.column)
}
