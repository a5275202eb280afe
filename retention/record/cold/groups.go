package cold

import (
	"math"
	"sort"

	"mayfly/retention/record"
)

const none = math.MinInt64 // no zigzag of a time

// group reads what the rows of each group of a run have in common.
func (d *Decoder) group(run run) {
	if d.r.failed {
		return
	}
	d.groups = resize(d.groups, run.to-run.from)
	clear(d.groups)
	d.groupAddresses(run)
	d.groupAccounts(run)
	d.groupSessions(run)
	for i, field := range shared {
		d.groupWords(run, i, field)
	}
	d.groupPorts(run)
	d.groupSince(run)
}

func (d *Decoder) groupAddresses(run run) {
	at := sort.Search(len(d.starts), func(i int) bool { return d.starts[i] > uint64(run.from) }) - 1
	for g := run.from; g < run.to; at++ {
		a := d.address(at)
		for ; g < min(run.to, int(d.starts[at+1])); g++ {
			d.groups[g-run.from].Address = a
		}
	}
}

func (d *Decoder) groupAccounts(run run) {
	r, a := &d.r, &d.l.accounts
	if r.get(a.same, 0) {
		r.fail()
		return
	}
	other := run.from - r.rank(a.same, run.from+1) // of the groups that say which, the one that holds here
	fresh := r.rank(a.fresh, other)
	last := ""
	for i := range d.groups {
		if g := run.from + i; i == 0 || !r.get(a.same, g) {
			text := fresh
			if r.get(a.fresh, other) {
				fresh++
			} else if old := r.value(&a.old, other-fresh); old < uint64(fresh) {
				text = int(old)
			} else {
				r.fail()
				return
			}
			last = d.string(&a.texts, text)
			other++
		}
		d.groups[i].Account = last
	}
}

func (d *Decoder) groupSessions(run run) {
	r, s := &d.r, &d.l.sessions
	fresh := r.rank(s.fresh, run.from)
	last, read := "", -1
	for i := range d.groups {
		g := run.from + i
		if r.get(s.fresh, g) {
			fresh++
		} else if r.get(s.none, g-fresh) {
			continue
		}
		if fresh == 0 {
			r.fail()
			return
		}
		if read != fresh-1 {
			read = fresh - 1
			last = d.string(&s.texts, read)
		}
		d.groups[i].Session = last
	}
}

// groupWords reads each word once.
func (d *Decoder) groupWords(run run, i int, field func(*record.Record) *string) {
	words, of := d.words[i], &d.l.shared[i]
	for g, which := range d.values(0, &of.which, run.from, len(d.groups)) {
		if which >= uint64(len(words)) {
			d.r.fail()
			return
		}
		if words[which] == "" {
			words[which] = d.string(&of.texts, int(which))
		}
		*field(&d.groups[g]) = words[which]
	}
}

func (d *Decoder) groupPorts(run run) {
	r, p := &d.r, &d.l.ports
	if r.get(p.same, 0) {
		r.fail()
		return
	}
	other := run.from - r.rank(p.same, run.from+1)
	singles, blocks := countSizes(d.sizes[:other])
	var last record.Ports
	for i := range d.groups {
		if g := run.from + i; i == 0 || !r.get(p.same, g) {
			last = d.ports(d.sizes[other], &singles, &blocks)
			other++
		}
		d.groups[i].Ports = last
	}
}

// ports reads the next ports, of which singles and blocks were read before.
func (d *Decoder) ports(size uint64, singles, blocks *int) record.Ports {
	of, next := &d.l.ports.blocks, blocks
	switch size {
	case 0:
		return record.Ports{}
	case 1:
		of, next = &d.l.ports.singles, singles
	}
	first := d.r.value(of, *next)
	*next++
	if size > 1<<16 || first > 1<<16-size {
		d.r.fail()
		return record.Ports{}
	}
	return record.Ports{First: uint16(first), Last: uint16(first + size - 1), Known: true}
}

// groupSince leaves the distance from the first time in Since, which append resolves, and
// none where it is not known.
func (d *Decoder) groupSince(run run) {
	r, s := &d.r, &d.l.since
	before := r.rank(s.known, run.from)
	ages := d.values(0, &s.ages, before, r.rank(s.known, run.to)-before)
	for i := range d.groups {
		d.groups[i].Since = none
		if r.get(s.known, run.from+i) && len(ages) > 0 {
			d.groups[i].Since, ages = int64(ages[0]), ages[1:]
		}
	}
}
