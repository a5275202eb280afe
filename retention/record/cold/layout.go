package cold

// layout is where the columns of a block are. Finding that out takes a microsecond or
// two; what a look-up then reads is a few values of each.
type layout struct {
	rows, groups int
	addresses    int
	four         int       // of them IPv4, which come first
	firsts       [2]uint64 // the first upper half of IPv4 and of IPv6
	steps        [2]column // the others, as differences
	lower        column

	perAddress, perGroup column // groups of each address, rows of each group; less one

	accounts struct {
		same  bitmap // per group: that of the one before
		fresh bitmap // per other group: a new text
		old   column // per other of these: the text
		texts texts
	}
	sessions struct {
		fresh bitmap // per group: a new text
		none  bitmap // per other group: none; else that of the one before
		texts texts
	}
	shared [len(shared)]struct {
		texts texts
		which column
	}
	ports struct {
		same            bitmap // per group: those of the one before
		sizes           few    // per other group
		singles, blocks column // the first ports
	}
	since struct {
		known bitmap
		ages  column // of the known: first time − since
	}
	kinds struct {
		since bitmap
		texts texts // events and outcomes
		which column
	}
	first, later column // times: of each group the first, and the differences of its others
	ids          struct {
		perGroup                 bool
		partition, offset, index column
	}
}

// layout reads where the columns are; false for a malformed block.
func (d *Decoder) layout() bool {
	r, l := &d.r, &d.l
	l.rows, l.groups, l.addresses = r.count(MaxRows), r.count(MaxRows), r.count(MaxRows)
	if r.failed || l.addresses == 0 || l.groups < l.addresses || l.rows < l.groups {
		return false
	}
	l.four = r.count(l.addresses)
	for part, n := range [2]int{l.four, l.addresses - l.four} {
		if n > 0 {
			l.firsts[part], l.steps[part] = r.number(), r.column(n-1)
		}
	}
	l.lower = r.column(l.addresses - l.four)
	l.perAddress, l.perGroup = r.column(l.addresses), r.column(l.groups)
	l.findAccounts(r)
	l.findSessions(r)
	for i := range l.shared {
		r.texts(&l.shared[i].texts, r.count(l.groups))
		l.shared[i].which = r.column(l.groups)
	}
	d.findPorts()
	l.since.known = r.bitmap(l.groups)
	l.since.ages = r.column(r.rank(l.since.known, l.groups))
	l.kinds.since = r.bitmap(r.count(l.rows))
	r.texts(&l.kinds.texts, 2*l.kinds.since.n)
	l.kinds.which = r.column(l.rows)
	l.first, l.later = r.column(l.groups), r.column(l.rows-l.groups)
	partitions := l.rows
	if l.ids.perGroup = r.flag(); l.ids.perGroup {
		partitions = l.groups
	}
	l.ids.partition, l.ids.offset, l.ids.index = r.column(partitions), r.column(l.rows), r.column(l.rows)
	return r.finish()
}

func (l *layout) findAccounts(r *bitReader) {
	a := &l.accounts
	a.same = r.bitmap(l.groups)
	a.fresh = r.bitmap(l.groups - r.rank(a.same, l.groups))
	fresh := r.rank(a.fresh, a.fresh.n)
	a.old = r.column(a.fresh.n - fresh)
	r.texts(&a.texts, fresh)
}

func (l *layout) findSessions(r *bitReader) {
	s := &l.sessions
	s.fresh = r.bitmap(l.groups)
	fresh := r.rank(s.fresh, l.groups)
	s.none = r.bitmap(l.groups - fresh)
	r.texts(&s.texts, fresh)
}

// findPorts reads the sizes of all: how many are single ports says where blocks begin.
func (d *Decoder) findPorts() {
	r, p := &d.r, &d.l.ports
	p.same = r.bitmap(d.l.groups)
	p.sizes = r.few(p.same.n-r.rank(p.same, p.same.n), p.sizes.distinct)
	d.sizes = resize(d.sizes, p.sizes.which.n)
	r.readFew(d.sizes, &p.sizes)
	singles, blocks := countSizes(d.sizes)
	p.singles, p.blocks = r.column(singles), r.column(blocks)
}

// countSizes tells single ports from blocks of them.
func countSizes(sizes []uint64) (singles, blocks int) {
	for _, size := range sizes {
		switch {
		case size == 1:
			singles++
		case size > 1:
			blocks++
		}
	}
	return singles, blocks
}

// untouched is an empty slice for n values: s where it suffices.
func untouched[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, 0, n) // slices.Grow would write zeros into all of it
	}
	return s[:0]
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
