package cold

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"

	"mayfly/retention/record"
)

// Rows are records on their way into blocks. Their texts lie side by side and
// they have no pointers: a record takes 96 bytes and its session, the
// garbage collector has nothing to look through, and Wipe leaves nothing behind.
type Rows struct {
	rows       []row
	text       []byte // sessions
	accounts   dictionary
	words      dictionary
	hashes     []uint32    // of the accounts that are being added
	numbers    [5][]uint32 // of their words
	columns    record.Columns
	partitions []Partition
	partition  map[Partition]uint16
	keys, sort []sortKey
	runs       []runKey
	samples    [][]point // see NewClock
	order      []uint32
	part       part
}

// row is a record. What orders it comes first.
type row struct {
	upper, lower uint64 // of the address; upper alone of IPv4
	who          uint64 // hashes of account and session, 32 bits each
	time, offset int64
	since        int64
	text         uint32 // where the session begins
	account      uint32 // the number
	server       uint32 // these are words
	transport    uint32
	client       uint32
	event        uint32
	outcome      uint32
	index        uint32
	session      uint16 // the length
	partition    uint16
	first, last  uint16 // ports
	ports, four  bool
}

// ErrUnfit says that records are more, or have longer texts, than blocks can hold.
var ErrUnfit = errors.New("cold: records that fit no block")

// Grow makes room for n records where there are none, with sessions of 24 bytes. What is
// more than they need is never touched, so it takes no memory.
func (r *Rows) Grow(n int) {
	r.rows = untouched(r.rows, n)
	r.text = untouched(r.text, 24*n)
}

// Len is how many records were added.
func (r *Rows) Len() int { return len(r.rows) }

// Add copies records, those of the part: all of them, or none and ErrUnfit.
func (r *Rows) Add(records []record.Record) error {
	r.columns.Gather(records)
	defer r.columns.Wipe()
	return r.AddColumns(&r.columns)
}

// AddColumns is Add for who has columns.
func (r *Rows) AddColumns(c *record.Columns) error {
	rows, text := len(r.rows), len(r.text)
	if !fit(c) {
		return ErrUnfit
	}
	r.hashes = r.hashes[:0]
	for _, account := range c.Accounts.Values() {
		r.hashes = append(r.hashes, hashOf(account))
	}
	r.accounts.look(r.hashes)
	for i, words := range [...]*record.Texts{&c.Servers, &c.Transports, &c.Clients, &c.Events, &c.Outcomes} {
		r.numbers[i] = r.numbers[i][:0]
		for _, word := range words.Values() {
			r.numbers[i] = append(r.numbers[i], r.words.number(word, hashOf(word)))
		}
	}
	last := record.ID{Partition: -1}
	partition := uint16(0)
	for i := range c.IDs {
		id := &c.IDs[i]
		if id.Partition != last.Partition || id.Topic != last.Topic {
			last = *id
			var ok bool
			if partition, ok = r.partitionOf(Partition{last.Topic, last.Partition}); !ok {
				r.cut(rows, text)
				return ErrUnfit
			}
		}
		if len(r.text) > math.MaxUint32-maxTextSize || len(r.accounts.text) > math.MaxUint32-maxTextSize {
			r.cut(rows, text)
			return ErrUnfit
		}
		session, hash := c.Sessions.At(i), r.hashes[c.Accounts.Number(i)]
		r.rows = append(r.rows, row{
			who:  uint64(hash)<<32 | uint64(hashOf(session)),
			time: c.Times[i], since: c.Since[i], offset: id.Offset, index: id.Index, partition: partition,
			text: uint32(len(r.text)), session: uint16(len(session)),
			server: r.numbers[0][c.Servers.Number(i)], transport: r.numbers[1][c.Transports.Number(i)], client: r.numbers[2][c.Clients.Number(i)],
			event: r.numbers[3][c.Events.Number(i)], outcome: r.numbers[4][c.Outcomes.Number(i)],
			first: c.Ports[i].First, last: c.Ports[i].Last, ports: c.Ports[i].Known,
		})
		added := &r.rows[len(r.rows)-1]
		added.locate(c.Addresses[i].Reveal())
		if !r.part.whole() && !r.part.has(added) {
			r.cut(len(r.rows)-1, len(r.text))
			continue
		}
		added.account = r.accounts.number(c.Accounts.At(i), hash)
		r.text = append(r.text, session...)
	}
	if r.full() {
		r.shrink()
	}
	return nil
}

// fit reports whether blocks can hold such texts.
func fit(c *record.Columns) bool {
	for _, column := range [...]*record.Texts{&c.Accounts, &c.Sessions, &c.Servers, &c.Transports, &c.Clients, &c.Events, &c.Outcomes} {
		for _, text := range column.Values() {
			if len(text) > maxTextSize {
				return false
			}
		}
	}
	return true
}

func (r *row) locate(ip netip.Addr) {
	if r.four = ip.Is4(); r.four {
		four := ip.As4()
		r.upper = uint64(binary.BigEndian.Uint32(four[:]))
		return
	}
	sixteen := ip.As16()
	r.upper, r.lower = binary.BigEndian.Uint64(sixteen[:8]), binary.BigEndian.Uint64(sixteen[8:])
}

func (r *Rows) partitionOf(p Partition) (number uint16, ok bool) {
	if number, ok = r.partition[p]; ok {
		return number, true
	}
	if len(r.partitions) == MaxPartitions {
		return 0, false
	}
	if r.partition == nil {
		r.partition = map[Partition]uint16{}
	}
	number = uint16(len(r.partitions))
	r.partition[p] = number
	r.partitions = append(r.partitions, p)
	return number, true
}

// sessionOf is a row's session: a slice of what Wipe erases.
func (r *Rows) sessionOf(row *row) string { return view(r.text, row.text, uint32(row.session)) }

// Bounds are the bounds of rows in their order.
func (r *Rows) Bounds(order []uint32) Bounds {
	return Bounds{r.rows[order[0]].key(), r.rows[order[len(order)-1]].key()}
}

// Weigh appends about how many bytes rows take in a block, as sums from the first on, until
// they are more than most: a row that begins a connection takes several times as much as
// one more of it, and one that begins an address still more. The numbers suit the reference
// workload: 3 % of its blocks are encoded again, 9 % with UUIDs; without the addresses 19 and
// 14 were. They differ by a factor from bytes, which store.fill finds out.
func (r *Rows) Weigh(sums []int, order []uint32, most int) []int {
	sum := 0
	var before *row
	for _, at := range order {
		of := &r.rows[at]
		sum += 5
		another := before == nil || of.lower != before.lower || of.upper != before.upper
		switch {
		case another && of.four:
			sum += 10
		case another:
			sum += 20
		}
		if another || of.who != before.who || of.first != before.first {
			sum += 4 + int(of.session)/2
			if before == nil || of.account != before.account {
				sum += int(r.accounts.all[of.account].length) / 2
			}
		}
		before = of
		if sums = append(sums, sum); sum > most {
			break
		}
	}
	return sums
}

// Wipe erases all records, and keeps the memory for others, of which all are added.
func (r *Rows) Wipe() {
	r.empty()
	clear(r.partition)
	r.partitions, r.part = r.partitions[:0], part{}
}

func (r *Rows) empty() {
	r.cut(0, 0)
	r.accounts.wipe()
	r.words.wipe()
	clear(r.runs[:cap(r.runs)])
	for _, points := range r.samples {
		clear(points[:cap(points)])
	}
	r.order = r.order[:0]
}
