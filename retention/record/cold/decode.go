package cold

import (
	"net/netip"
	"unsafe"

	"mayfly/retention/record"
)

// Subject is whose records are wanted: those of addresses in Prefix, those of Account,
// or, where neither is set, all.
type Subject struct {
	Prefix  netip.Prefix
	Account string
}

// Decoder reads blocks. It keeps scratch space between calls, so use one per
// goroutine.
//
// It reads of each column hardly more than the subject's values: a look-up of one address
// in 95 blocks of 1,500 rows takes 1.8 ms of CPU so, and took 18 when all columns were
// decoded. What is malformed in the rest may go unnoticed: a block was opened with its
// seal, so nobody but a compactor has written it.
type Decoder struct {
	r       bitReader
	l       layout
	clock   *Clock
	uppers  []uint64 // of all addresses
	sizes   []uint64 // of all ports
	starts  []uint64 // the first group of each address, as far as they are wanted, and the end
	rows    []uint64 // the first row of each group, likewise
	runs    []run
	groups  []record.Record // of a run: what rows have in common
	columns [6][]uint64     // of a run
	words   [len(shared)][]string
	kinds   []kind
	text    []byte // where the texts of records go
	// Rows is how many rows were in the blocks that this decoder has read.
	Rows int
}

// run is groups side by side, from and up to.
type run struct{ from, to int }

// Append reads a block and appends the subject's records to dst. What it
// allocates is bounded by MaxRows.
func (d *Decoder) Append(dst []record.Record, payload []byte, clock *Clock, of Subject) ([]record.Record, error) {
	if len(payload) == 0 || payload[0] != formatVersion {
		return dst, ErrFormat
	}
	d.r, d.clock = bitReader{in: payload[1:]}, clock
	defer d.forget()
	if !d.layout() {
		return dst, ErrFormat
	}
	from := len(dst)
	d.find(of)
	for _, run := range d.runs {
		d.group(run)
		dst = d.append(dst, run)
		clear(d.groups)
	}
	if d.r.failed {
		clear(dst[from:])
		return dst[:from], ErrFormat
	}
	d.Rows += d.l.rows
	return dst, nil
}

// forget leaves nothing of a record behind.
func (d *Decoder) forget() {
	d.r, d.clock, d.text = bitReader{}, nil, nil
	clear(d.uppers)
	clear(d.kinds)
	for i := range d.words {
		clear(d.words[i])
	}
}

// string reads a text. What is read for one call of Append shares a few pieces of memory.
func (d *Decoder) string(t *texts, i int) string {
	size := t.size(i)
	if size == 0 {
		return ""
	}
	if cap(d.text)-len(d.text) < size {
		d.text = make([]byte, 0, max(size, min(4*cap(d.text), 32<<10), 256))
	}
	from := len(d.text)
	d.text = d.r.appendText(d.text, t, i)
	return unsafe.String(unsafe.SliceData(d.text[from:]), len(d.text)-from) // nothing else is written there
}

// values reads n values of a column from one on into scratch.
func (d *Decoder) values(scratch int, c *column, from, n int) []uint64 {
	d.columns[scratch] = resize(d.columns[scratch], n)
	d.r.read(d.columns[scratch], c, from)
	return d.columns[scratch]
}

// append makes the records of a run, whose groups are there.
func (d *Decoder) append(dst []record.Record, run run) []record.Record {
	r, l := &d.r, &d.l
	if r.failed {
		return dst
	}
	groups, row := run.to-run.from, int(d.rows[run.from])
	n := int(d.rows[run.to]) - row
	firsts, later := d.values(0, &l.first, run.from, groups), d.values(1, &l.later, row-run.from, n-groups)
	which, offsets, index := d.values(2, &l.kinds.which, row, n), d.values(3, &l.ids.offset, row, n), d.values(4, &l.ids.index, row, n)
	from, partitions := row, n
	if l.ids.perGroup {
		from, partitions = run.from, groups
	}
	partition := d.values(5, &l.ids.partition, from, partitions)
	i := 0
	for g := range groups {
		time, since := int64(firsts[g]), int64(0)
		if age := d.groups[g].Since; age != none {
			since = time - unzigzag(uint64(age))
		}
		count := int(d.rows[run.from+g+1] - d.rows[run.from+g])
		for j := range count {
			if j > 0 {
				time += int64(later[0])
				later = later[1:]
			}
			p := partition[min(i, len(partition)-1)]
			if l.ids.perGroup {
				p = partition[g]
			}
			if p >= uint64(len(d.clock.partitions)) || index[i] > 1<<32-1 || which[i] >= uint64(len(d.kinds)) {
				r.fail()
				return dst
			}
			kind, in := d.kind(int(which[i])), &d.clock.partitions[p]
			of := d.groups[g]
			of.Time, of.Since, of.Event, of.Outcome = time, 0, kind.event, kind.outcome
			if kind.since {
				of.Since = since
			}
			of.ID = record.ID{
				Topic: in.Topic, Partition: in.Number, Index: uint32(index[i]),
				Offset: d.clock.guess(int(p), time) + unzigzag(offsets[i]),
			}
			dst = append(dst, of)
			i++
		}
	}
	return dst
}

// kind reads a kind once.
func (d *Decoder) kind(i int) *kind {
	k := &d.kinds[i]
	if k.rows == 0 {
		k.rows, k.since = 1, d.r.get(d.l.kinds.since, i)
		k.event, k.outcome = d.string(&d.l.kinds.texts, 2*i), d.string(&d.l.kinds.texts, 2*i+1)
	}
	return k
}
