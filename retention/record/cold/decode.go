package cold

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// Decoder reads blocks. It keeps scratch space between calls, so use one per
// goroutine.
type Decoder struct {
	r      bitReader
	groups []record.Record // what their rows have in common
	counts []uint64        // rows of each group
	column []uint64
	more   []uint64
	// Rows is how many rows were in the blocks that this decoder has read.
	Rows int
}

// Append reads a block and appends those of its records to dst whose address and
// account keep accepts. What it allocates is bounded by MaxRows.
func (d *Decoder) Append(dst []record.Record, payload []byte, clock *Clock,
	keep func(address.Address, string) bool,
) ([]record.Record, error) {
	if len(payload) == 0 || payload[0] != formatVersion {
		return dst, ErrFormat
	}
	d.r = bitReader{rest: payload[1:]}
	rows, groups := d.r.count(MaxRows), d.r.count(MaxRows)
	addresses := d.r.count(MaxRows)
	if d.r.failed || addresses == 0 || groups < addresses || rows < groups {
		return dst, ErrFormat
	}
	d.groups = slices.Grow(d.groups[:0], groups)[:groups]
	clear(d.groups)
	defer clear(d.groups) // no record is to linger here
	ips := d.addresses(addresses)
	if !d.counted(ips, groups, rows) {
		return dst, ErrFormat
	}
	d.accounts()
	d.sessions()
	for _, field := range shared {
		d.shared(field)
	}
	d.ports()
	d.since()
	from := len(dst)
	dst = d.rows(dst, rows, clock, keep)
	if !d.r.finish() {
		clear(dst[from:])
		return dst[:from], ErrFormat
	}
	d.Rows += rows
	return dst, nil
}

func (d *Decoder) addresses(n int) []address.Address {
	four := d.r.count(n)
	ips := make([]address.Address, 0, n)
	for part, size := range [2]int{four, n - four} {
		if size == 0 {
			continue
		}
		value := d.r.number()
		steps := d.r.numbers(d.column, size-1)
		if part == 1 {
			d.more = d.r.numbers(d.more, size)
		}
		for i := range size {
			if i > 0 {
				value += steps[i-1]
			}
			var ip netip.Addr
			if part == 0 {
				if value > 1<<32-1 {
					d.r.fail()
				}
				ip = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(value))))
			} else {
				var sixteen [16]byte
				binary.BigEndian.PutUint64(sixteen[:8], value)
				binary.BigEndian.PutUint64(sixteen[8:], d.more[i])
				ip = netip.AddrFrom16(sixteen)
			}
			a, err := address.From(ip)
			if err != nil || part == 1 && a.Reveal().Is4() { // IPv4 in IPv6 has another spelling
				d.r.fail()
			}
			ips = append(ips, a)
		}
		d.column = steps
	}
	return ips
}

// counted gives the groups their addresses and finds out how many rows each has.
func (d *Decoder) counted(ips []address.Address, groups, rows int) bool {
	d.column = d.r.numbers(d.column, len(ips))
	d.counts = d.r.numbers(d.counts, groups)
	next := uint64(0)
	for i, more := range d.column {
		if more >= uint64(groups)-next {
			return false
		}
		for range more + 1 {
			d.groups[next].Address = ips[i]
			next++
		}
	}
	total := uint64(0)
	for i := range d.counts {
		if d.counts[i] >= uint64(rows) {
			return false
		}
		d.counts[i]++
		total += d.counts[i]
	}
	return !d.r.failed && next == uint64(groups) && total == uint64(rows)
}

const (
	sameAsBefore = -1
	newValue     = -2
)

func (d *Decoder) accounts() {
	forms := make([]int, len(d.groups))
	fresh, old := 0, 0
	for g := range forms {
		switch {
		case d.r.flag():
			forms[g] = sameAsBefore
		case d.r.flag():
			forms[g] = newValue
			fresh++
		default:
			forms[g] = old
			old++
		}
	}
	d.column = d.r.numbers(d.column, old)
	texts := d.r.texts(fresh)
	next := 0
	for g, form := range forms {
		switch {
		case form == newValue:
			d.groups[g].Account = texts[next]
			next++
		case form == sameAsBefore && g > 0:
			d.groups[g].Account = d.groups[g-1].Account
		case form >= 0 && d.column[form] < uint64(next):
			d.groups[g].Account = texts[d.column[form]]
		default:
			d.r.fail()
			return
		}
	}
}

func (d *Decoder) sessions() {
	forms := make([]int, len(d.groups))
	fresh := 0
	for g := range forms {
		switch {
		case !d.r.flag():
			forms[g] = newValue
			fresh++
		case !d.r.flag():
			forms[g] = sameAsBefore
		}
	}
	texts := d.r.texts(fresh)
	for g, form := range forms {
		switch {
		case form == newValue:
			d.groups[g].Session, texts = texts[0], texts[1:]
		case form == sameAsBefore && g > 0:
			d.groups[g].Session = d.groups[g-1].Session
		case form == sameAsBefore:
			d.r.fail()
		}
	}
}

func (d *Decoder) shared(field func(*record.Record) *string) {
	texts := d.r.texts(d.r.count(len(d.groups)))
	d.column = d.r.numbers(d.column, len(d.groups))
	for g := range d.groups {
		if d.column[g] >= uint64(len(texts)) {
			d.r.fail()
			return
		}
		*field(&d.groups[g]) = texts[d.column[g]]
	}
}

func (d *Decoder) ports() {
	same := make([]bool, len(d.groups))
	other := 0
	for g := range same {
		if same[g] = d.r.flag(); !same[g] {
			other++
		}
	}
	sizes := d.r.few(other)
	singles, blocks := 0, 0
	for _, size := range sizes {
		switch {
		case size == 1:
			singles++
		case size > 1:
			blocks++
		}
	}
	d.column, d.more = d.r.numbers(d.column, singles), d.r.numbers(d.more, blocks)
	singlePorts, blockPorts := d.column, d.more
	for g := range d.groups {
		if same[g] {
			if g == 0 {
				d.r.fail()
				return
			}
			d.groups[g].Ports = d.groups[g-1].Ports
			continue
		}
		size := sizes[0]
		sizes = sizes[1:]
		if size == 0 {
			continue
		}
		from := &blockPorts
		if size == 1 {
			from = &singlePorts
		}
		first := (*from)[0]
		*from = (*from)[1:]
		if size > 1<<16 || first > 1<<16-size {
			d.r.fail()
			return
		}
		d.groups[g].Ports = record.Ports{First: uint16(first), Last: uint16(first + size - 1), Known: true}
	}
}

func (r *bitReader) few(n int) []uint64 {
	if n == 0 {
		return nil
	}
	distinct := r.numbers(nil, r.count(n))
	values := r.numbers(nil, n)
	for i, v := range values {
		if v >= uint64(len(distinct)) {
			r.fail()
			return make([]uint64, n)
		}
		values[i] = distinct[v]
	}
	return values
}

// since leaves the distance from the first time in Since, which rows resolves, and
// none where it is not known.
func (d *Decoder) since() {
	known := 0
	for g := range d.groups {
		if d.r.flag() {
			d.groups[g].Since = 1
			known++
		}
	}
	d.column = d.r.numbers(d.column, known)
	values := d.column
	for g := range d.groups {
		if d.groups[g].Since != 0 {
			d.groups[g].Since, values = int64(values[0]), values[1:]
		} else {
			d.groups[g].Since = none
		}
	}
}

const none = -1 << 63 // no zigzag of a time

// rows reads the columns of rows and makes the records that are kept.
func (d *Decoder) rows(dst []record.Record, n int, clock *Clock, keep func(address.Address, string) bool) []record.Record {
	kinds := d.kindsOf()
	kindOf := d.r.numbers(nil, n)
	firsts := d.r.numbers(nil, len(d.groups))
	later := d.r.numbers(nil, n-len(d.groups))
	perGroup := d.r.flag()
	partitions := n
	if perGroup {
		partitions = len(d.groups)
	}
	partitionOf := d.r.numbers(nil, partitions)
	d.column = d.r.numbers(d.column, n)
	d.more = d.r.numbers(d.more, n)
	if d.r.failed {
		return dst
	}
	row := 0
	for g := range d.groups {
		group := &d.groups[g]
		count := int(d.counts[g])
		time := int64(firsts[g])
		since := int64(0)
		if group.Since != none {
			since = time - unzigzag(uint64(group.Since))
		}
		steps := later[:count-1]
		later = later[count-1:]
		if !keep(group.Address, group.Account) {
			row += count
			continue
		}
		for i := range count {
			if i > 0 {
				time += int64(steps[i-1])
			}
			at := row
			if perGroup {
				at = g
			}
			partition := partitionOf[at]
			if kindOf[row] >= uint64(len(kinds)) || partition >= uint64(len(clock.partitions)) || d.more[row] > 1<<32-1 {
				d.r.fail()
				return dst
			}
			k, p := &kinds[kindOf[row]], &clock.partitions[partition]
			r := *group
			r.Time, r.Since, r.Event, r.Outcome = time, 0, k.event, k.outcome
			if k.since {
				r.Since = since
			}
			r.ID = record.ID{
				Topic: p.Topic, Partition: p.Number, Index: uint32(d.more[row]),
				Offset: clock.guess(int(partition), time) + unzigzag(d.column[row]),
			}
			dst = append(dst, r)
			row++
		}
	}
	return dst
}

func (d *Decoder) kindsOf() []kind {
	kinds := make([]kind, d.r.count(MaxRows))
	for i := range kinds {
		kinds[i].since = d.r.flag()
	}
	texts := d.r.texts(2 * len(kinds))
	for i := range kinds {
		kinds[i].event, kinds[i].outcome = texts[2*i], texts[2*i+1]
	}
	return kinds
}
