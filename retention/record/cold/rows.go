package cold

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math"
	"net/netip"
	"slices"
	"unsafe"

	"mayfly/retention/record"
)

// Rows are records on their way into blocks. Their texts lie in one piece of memory and
// they have no pointers: a record takes 88 bytes and its account and session, the
// garbage collector has nothing to look through, and Wipe leaves nothing behind.
type Rows struct {
	rows       []row
	text       []byte // account and session of each
	words      []string
	known      map[string]uint32 // the words by their numbers
	near       [64]nearWord
	partitions []Partition
	partition  map[Partition]uint16
	keys, sort []sortKey
	runs       []runKey
	order      []uint32
	part       part
}

// row is a record. What orders it comes first.
type row struct {
	upper, lower uint64 // of the address; upper alone of IPv4
	who          uint64 // hashes of account and session, 32 bits each
	time, offset int64
	since        int64
	text         uint32 // where account and session begin
	server       uint32 // these are words
	transport    uint32
	client       uint32
	event        uint32
	outcome      uint32
	index        uint32
	account      uint16 // the length, as of session
	session      uint16
	partition    uint16
	first, last  uint16 // ports
	ports, four  bool
}

// nearWord is where a word of the records that are being added lies, so that it is found
// without being looked at.
type nearWord struct {
	text   *byte
	length int // and 1; 0: none
	number uint32
}

// ErrUnfit says that records are more, or have longer texts, than blocks can hold.
var ErrUnfit = errors.New("cold: records that fit no block")

// seed is the same for all, so that equal records are in equal order.
var seed = maphash.MakeSeed()

// Grow makes room for n more records, whose account and session mostly take 24 bytes.
func (r *Rows) Grow(n int) {
	r.rows = slices.Grow(r.rows, n)
	r.text = slices.Grow(r.text, 24*n)
}

// Len is how many records were added.
func (r *Rows) Len() int { return len(r.rows) }

// Add copies records, those of the part: all of them, or none and ErrUnfit.
func (r *Rows) Add(records []record.Record) error {
	rows, text := len(r.rows), len(r.text)
	clear(r.near[:]) // of other records, whose memory may be gone
	last := record.ID{Partition: -1}
	partition := uint16(0)
	for i := range records {
		from := &records[i]
		if from.ID.Partition != last.Partition || from.ID.Topic != last.Topic {
			last = from.ID
			var ok bool
			if partition, ok = r.partitionOf(Partition{last.Topic, last.Partition}); !ok {
				r.cut(rows, text)
				return ErrUnfit
			}
		}
		if !fits(from) || len(r.text) > math.MaxUint32-2*maxTextSize {
			r.cut(rows, text)
			return ErrUnfit
		}
		r.rows = append(r.rows, row{
			who:  maphash.String(seed, from.Account)&^math.MaxUint32 | maphash.String(seed, from.Session)>>32,
			time: from.Time, since: from.Since, offset: from.ID.Offset, index: from.ID.Index, partition: partition,
			text: uint32(len(r.text)), account: uint16(len(from.Account)), session: uint16(len(from.Session)),
			server: r.word(from.Server), transport: r.word(from.Transport), client: r.word(from.Client),
			event: r.word(from.Event), outcome: r.word(from.Outcome),
			first: from.Ports.First, last: from.Ports.Last, ports: from.Ports.Known,
		})
		added := &r.rows[len(r.rows)-1]
		added.locate(from.Address.Reveal())
		if !r.part.whole() && !r.part.has(added) {
			r.cut(len(r.rows)-1, len(r.text))
			continue
		}
		r.text = append(append(r.text, from.Account...), from.Session...)
	}
	if r.full() {
		r.shrink()
	}
	return nil
}

func fits(r *record.Record) bool {
	for _, text := range [...]string{r.Account, r.Session, r.Server, r.Transport, r.Client, r.Event, r.Outcome} {
		if len(text) > maxTextSize {
			return false
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

// word is the number of a text that others have too.
func (r *Rows) word(text string) uint32 {
	at := unsafe.StringData(text)
	near := &r.near[uintptr(unsafe.Pointer(at))*0x9e3779b1>>8%uintptr(len(r.near))]
	if near.text == at && near.length == len(text)+1 {
		return near.number
	}
	number, known := r.known[text]
	if !known {
		if r.known == nil {
			r.known = map[string]uint32{}
		}
		number = uint32(len(r.words))
		r.words = append(r.words, string([]byte(text)))
		r.known[r.words[number]] = number
	}
	*near = nearWord{at, len(text) + 1, number}
	return number
}

// accountOf is row's account, and sessionOf its session: slices of what Wipe erases.
func (r *Rows) accountOf(row *row) string { return r.view(row.text, row.account) }
func (r *Rows) sessionOf(row *row) string { return r.view(row.text+uint32(row.account), row.session) }

func (r *Rows) view(at uint32, length uint16) string {
	if length == 0 {
		return ""
	}
	return unsafe.String(&r.text[at], int(length))
}

// Accounts calls visit with the accounts of rows in their order, not twice in a row with one.
func (r *Rows) Accounts(order []uint32, visit func(account string)) {
	last := ""
	for _, at := range order {
		if account := r.accountOf(&r.rows[at]); account != last {
			visit(account)
			last = account
		}
	}
}

// Bounds are the bounds of rows in their order.
func (r *Rows) Bounds(order []uint32) Bounds {
	return Bounds{r.rows[order[0]].key(), r.rows[order[len(order)-1]].key()}
}

// Weigh appends about how many bytes rows take in a block, as sums from the first on, until
// they are more than most: a row that begins a connection takes several times as much as
// one more of it.
func (r *Rows) Weigh(sums []int, order []uint32, most int) []int {
	sum, before := 0, &row{}
	for _, at := range order {
		of := &r.rows[at]
		if sum += 5; of.who != before.who || of.lower != before.lower || of.upper != before.upper || of.first != before.first || sum == 5 {
			sum += 7 + int(of.session)/2
			if of.who>>32 != before.who>>32 {
				sum += int(of.account) / 2
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
	clear(r.words)
	clear(r.known)
	clear(r.near[:])
	clear(r.keys[:cap(r.keys)])
	clear(r.sort[:cap(r.sort)])
	clear(r.runs[:cap(r.runs)])
	r.words, r.order = r.words[:0], r.order[:0]
}
