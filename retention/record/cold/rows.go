package cold

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"unsafe"

	"mayfly/retention/record"
)

// Rows are records on their way into blocks. What many of them share is written once, and
// their texts lie side by side; they have no pointers: a record takes 64 bytes and its session, the
// garbage collector has nothing to look through, and Wipe leaves nothing behind.
type Rows struct {
	rows       []Row
	located    []uint32 // the address of each
	text       []byte   // sessions
	accounts   dictionary
	addresses  dictionary
	words      dictionary
	shared     tuples      // server, transport, client, and 1 where ports are known
	kinds      tuples      // event, outcome, and 1 where the beginning is known
	hashes     []uint32    // of the accounts that are being added
	numbers    [5][]uint32 // of their words
	columns    record.Columns
	partitions []Partition
	partition  map[Partition]uint16
	part       part
	samples    [][]point // see NewClock

	// Sort makes these.
	sorted      []Row
	places      []place  // of the addresses, by their numbers
	ranks       []uint32 // of the addresses, then where the rows of each begin
	keyed       []sortKey
	scratch     []sortKey
	byAddress   []uint32
	runs, spare []runKey
}

// Row is a record among Rows, a line of the processor's cache: numbers of what these hold.
type Row struct {
	who          uint64 // hashes of account and session, 32 bits each
	time, offset int64
	since        int64
	text         uint32 // where the session begins
	account      uint32 // these are numbers
	address      uint32
	shared, kind uint32
	index        uint32
	session      uint16 // the length
	partition    uint16
	first, last  uint16 // ports
}

// portsKnown is the place in shared that says so; what is before it are the fields that
// the encoder calls shared.
const portsKnown = 3

// place is where an address is in the order of blocks.
type place struct {
	upper, lower uint64 // upper alone of IPv4
	four         bool
}

// ErrUnfit says that records are more, or have longer texts, than blocks can hold.
var ErrUnfit = errors.New("cold: records that fit no block")

// Grow makes room for n records where there are none, with sessions of 24 bytes. What is
// more than they need is never touched, so it takes no memory.
func (r *Rows) Grow(n int) {
	r.rows, r.located = untouched(r.rows, n), untouched(r.located, n)
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
	r.lookUp(c)
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
		row := Row{
			who:  uint64(hash)<<32 | uint64(hashOf(session)),
			time: c.Times[i], since: c.Since[i], offset: id.Offset, index: id.Index, partition: partition,
			text: uint32(len(r.text)), session: uint16(len(session)),
			first: c.Ports[i].First, last: c.Ports[i].Last,
		}
		ip := c.Addresses[i].Reveal()
		if !r.part.whole() && !r.part.has(bound{placeOf(ip), row}) {
			continue
		}
		row.address = r.addressOf(ip)
		row.account = r.accounts.number(c.Accounts.At(i), hash)
		row.shared = r.shared.number(tuple{
			r.numbers[0][c.Servers.Number(i)], r.numbers[1][c.Transports.Number(i)], r.numbers[2][c.Clients.Number(i)], flag(c.Ports[i].Known),
		})
		row.kind = r.kinds.number(tuple{
			r.numbers[3][c.Events.Number(i)], r.numbers[4][c.Outcomes.Number(i)], flag(row.since != 0),
		})
		r.rows, r.located = append(r.rows, row), append(r.located, row.address)
		r.text = append(r.text, session...)
	}
	if r.full() {
		r.shrink()
	}
	return nil
}

// lookUp hashes the accounts of columns, and numbers their words.
func (r *Rows) lookUp(c *record.Columns) {
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

// addressOf numbers an address, IPv4 by its four bytes.
func (r *Rows) addressOf(ip netip.Addr) uint32 {
	sixteen := ip.As16()
	bytes := sixteen[:]
	if ip.Is4() {
		bytes = bytes[12:]
	}
	text := unsafe.String(&bytes[0], len(bytes))
	return r.addresses.number(text, hashOf(text))
}

func placeOf(ip netip.Addr) place {
	sixteen := ip.As16()
	if ip.Is4() {
		return place{upper: uint64(binary.BigEndian.Uint32(sixteen[12:])), four: true}
	}
	return place{upper: binary.BigEndian.Uint64(sixteen[:8]), lower: binary.BigEndian.Uint64(sixteen[8:])}
}

func flag(set bool) uint32 {
	if set {
		return 1
	}
	return 0
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
func (r *Rows) sessionOf(row *Row) string { return view(r.text, row.text, uint32(row.session)) }

// Bounds are the bounds of rows in their order.
func (r *Rows) Bounds(rows []Row) Bounds {
	return Bounds{r.places[rows[0].address].key(), r.places[rows[len(rows)-1].address].key()}
}

// Weigh appends about how many bytes rows take in a block, as sums from the first on, until
// they are more than most: a row that begins a connection takes several times as much as
// one more of it, and one that begins an address still more. The numbers suit the reference
// workload: 3 % of its blocks are encoded again, 9 % with UUIDs; without the addresses 19 and
// 14 were. They differ by a factor from bytes, which store.fill finds out.
func (r *Rows) Weigh(sums []int, rows []Row, most int) []int {
	sum := 0
	for i := range rows {
		of, before := &rows[i], &rows[max(i-1, 0)]
		sum += 5
		another := i == 0 || of.address != before.address
		switch {
		case another && r.places[of.address].four:
			sum += 10
		case another:
			sum += 20
		}
		if another || of.who != before.who || of.first != before.first {
			sum += 4 + int(of.session)/2
			if i == 0 || of.account != before.account {
				sum += int(r.accounts.all[of.account].length) / 2
			}
		}
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
	r.addresses.wipe()
	r.words.wipe()
	r.shared.wipe()
	r.kinds.wipe()
	r.forget()
	for _, points := range r.samples {
		clear(points[:cap(points)])
	}
}
