package record

import (
	"fmt"
	"io"
	"iter"
	"math"
	"net/netip"
	"sync"
	"unsafe"

	"mayfly/retention/address"
)

// Rows are records of one partition that wait to be sealed, in one block of memory that
// never moves and that the garbage collector does not look into: 56 bytes each, and right
// behind them account and session. What is in it is gone with Release. As records of 200
// bytes, half of them pointers, ingest took a tenth more CPU for an event.
type Rows struct {
	source
	block *block
	words *wordTable
	count int
	end   int // of the records, in the block
}

// source is where the records of a partition come from.
type source struct {
	topic     [16]byte
	partition int32
}

// RowSize is what a record takes besides its account and session.
const RowSize = int64(unsafe.Sizeof(row{}))

// BlockSize is what a block takes.
const BlockSize = int64(unsafe.Sizeof(block{}))

// row is a record; its texts follow it.
type row struct {
	offset, time, since int64
	address             [16]byte // IPv4 in the last four
	index               uint32
	first, last         uint16 // ports
	account, session    uint8  // how long they are
	words               [5]uint8
	flags               uint8
}

const (
	hasIPv4 = 1 << iota
	hasIPv6
	hasPorts
)

// The words of a row.
const (
	wordEvent = iota
	wordServer
	wordTransport
	wordClient
	wordOutcome
)

// block has room for a few hundred rows, each of which begins at a unit of eight bytes.
type block [unitsInBlock]uint64

const unitsInBlock = 4 << 10

// blocks are empty.
var blocks = sync.Pool{New: func() any { return new(block) }}

// Place is that of a record in a list of Rows.
type Place uint32

// PlaceOf is the place of a record of the nth Rows of a list.
func PlaceOf(n, record int) Place { return Place(n*unitsInBlock + record) }

// NewRows gives room for records of the partition that id is of. Rows of one Words are
// not for concurrent use.
func NewRows(id ID, words *Words) *Rows {
	return &Rows{
		source: source{id.Topic, id.Partition}, block: blocks.Get().(*block), words: words.table(),
	}
}

// RowsOf copies records, their order within a partition kept.
func RowsOf(records []Record) []*Rows {
	var all []*Rows
	var words Words
	latest := map[source]*Rows{}
	for i := range records {
		r := &records[i]
		s := source{r.ID.Topic, r.ID.Partition}
		if rows := latest[s]; rows != nil {
			if _, ok := rows.Add(r); ok {
				continue
			}
		}
		latest[s] = NewRows(r.ID, &words)
		latest[s].Add(r)
		all = append(all, latest[s])
	}
	return all
}

// Add copies a record and gives the bytes that it takes, or reports that it has no room
// for it, or that it is of another partition. New Rows have room for any. Neither account
// nor session is longer than 255 bytes.
func (b *Rows) Add(r *Record) (size int64, ok bool) {
	if r.ID.Partition != b.partition || r.ID.Topic != b.topic {
		return 0, false
	}
	if max(len(r.Account), len(r.Session)) > math.MaxUint8 {
		panic("record: a text is longer than any that is stored")
	}
	end := b.end + rowUnits(len(r.Account)+len(r.Session))
	if end > unitsInBlock {
		return 0, false
	}
	before := b.words.size
	words, ok := b.words.numbers(r)
	if !ok {
		return 0, false
	}
	to := b.row(b.end)
	to.set(r)
	to.words, to.account, to.session = words, uint8(len(r.Account)), uint8(len(r.Session))
	texts := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(to), RowSize)), len(r.Account)+len(r.Session))
	copy(texts[copy(texts, r.Account):], r.Session)
	size = int64(end-b.end)*8 + int64(b.words.size-before)
	b.count, b.end = b.count+1, end
	return size, true
}

// rowUnits is how many units of eight bytes a row takes with so many bytes of texts.
func rowUnits(texts int) int { return (int(RowSize) + texts + 7) / 8 }

// set copies what is no text.
func (to *row) set(r *Record) {
	to.offset, to.index, to.time, to.since = r.ID.Offset, r.ID.Index, r.Time, r.Since
	to.first, to.last, to.flags = r.Ports.First, r.Ports.Last, 0
	if r.Ports.Known {
		to.flags = hasPorts
	}
	ip := r.Address.Reveal()
	switch to.address = ip.As16(); {
	case ip.Is4():
		to.flags |= hasIPv4
	case ip.IsValid():
		to.flags |= hasIPv6
	}
}

// Len is how many records there are.
func (b *Rows) Len() int { return b.count }

// All numbers the records that were not wiped, in their order, though not one by one.
func (b *Rows) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for at := 0; at < b.end; {
			r := b.row(at)
			next := at + rowUnits(int(r.account)+int(r.session))
			if !yield(at) {
				return
			}
			at = next
		}
	}
}

// ID is the identity of a record.
func (b *Rows) ID(record int) ID {
	r := b.row(record)
	return ID{Topic: b.topic, Partition: b.partition, Offset: r.offset, Index: r.index}
}

// Record is a copy of a record but for its texts, which are views, valid until Release.
func (b *Rows) Record(record int) Record {
	r := b.row(record)
	var a address.Address
	if r.flags&(hasIPv4|hasIPv6) != 0 {
		a, _ = address.From(netip.AddrFrom16(r.address))
	}
	text := r.texts()
	word := func(n int) string { return b.words.values[r.words[n]] }
	return Record{
		ID: b.ID(record), Time: r.time, Since: r.since, Address: a, Ports: Ports{First: r.first, Last: r.last, Known: r.flags&hasPorts != 0},
		Account: text[:r.account], Session: text[r.account:], Event: word(wordEvent), Server: word(wordServer),
		Transport: word(wordTransport), Client: word(wordClient), Outcome: word(wordOutcome),
	}
}

// Reveal is the address of a record; an IPv4 address is in the last four bytes.
func (b *Rows) Reveal(record int) (raw *[16]byte, is4 bool) {
	r := b.row(record)
	return &r.address, r.flags&hasIPv4 != 0
}

// Account is the account of a record, a view.
func (b *Rows) Account(record int) []byte {
	r := b.row(record)
	return unsafe.Slice(unsafe.StringData(r.texts()), r.account)
}

// row is the row that begins at a unit of the block.
func (b *Rows) row(at int) *row {
	return (*row)(unsafe.Pointer((*[RowSize / 8]uint64)(b.block[at:])))
}

// texts are the account of a row that is in a block and, behind it, the session.
func (r *row) texts() string {
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(r), RowSize)), int(r.account)+int(r.session))
}

// Wipe erases the records. Their number stays.
func (b *Rows) Wipe() {
	clear(b.block[:b.end])
	b.end = 0
}

// Release erases the records and gives the memory back: b must not be used any more.
func (b *Rows) Release() {
	b.Wipe()
	blocks.Put(b.block)
	*b = Rows{}
}

// String is "[record]".
func (b *Rows) String() string { return "[record]" }

// GoString is "[record]".
func (b *Rows) GoString() string { return "[record]" }

// Format writes "[record]" for every verb.
func (b *Rows) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[record]") }

// MarshalText is "[record]", and with it JSON and YAML.
func (b *Rows) MarshalText() ([]byte, error) { return []byte("[record]"), nil }
