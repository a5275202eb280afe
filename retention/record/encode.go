package record

import (
	"encoding/binary"
)

// MaxRows is the most records in one payload.
const MaxRows = 1 << 16

// The first byte of every payload: whether a Kafka record is one row, or rows
// have indices among those of their record.
const (
	formatPlain   = 1
	formatIndexed = 2
)

// Encoder writes records as columns. It keeps scratch space between calls, so
// use one per goroutine. The same records in the same order give the same bytes.
//
// The payload, integers as (zigzag) varints:
//
//	version, rows
//	topics: count, UUIDs; runs of one partition: count, (topic, partition, first offset, rows)
//	offset steps − 1 (runs' first rows left out); in the indexed version steps, then per
//	row its index, or what it adds to the row before − 1 where that has the same offset
//	times: first, then differences
//	since: 0, or 1 and per row 0 or time − since + 1 zigzagged
//	address families: a bit per row, 1 for IPv6; addresses, 4 or 16 bytes
//	ports: 0 none, 1 one port per row, 2 mixed
//	strings: account, event, session, server, transport, client, outcome
type Encoder struct {
	topics     [][16]byte
	runs       []run
	dictionary map[string]byte
	values     []string
	index      []byte
	symbols    []byte
	codes      [256]byte // of the symbols
}

type run struct {
	topic     int
	partition int32
	first     int64
	rows      int
}

// Append encodes the records that pick names, in that order, after dst.
// len(pick) is 1 to MaxRows.
func (e *Encoder) Append(dst []byte, records []Record, pick []uint32) []byte {
	rows := make([]*Record, len(pick))
	for i, p := range pick {
		rows[i] = &records[p]
	}
	return e.AppendRows(dst, rows)
}

// AppendRows encodes records after dst. Their offsets should ascend within a
// partition's run; they do in the order of reading. len(rows) is 1 to MaxRows.
func (e *Encoder) AppendRows(dst []byte, rows []*Record) []byte {
	indexed := false
	for _, r := range rows {
		indexed = indexed || r.ID.Index != 0
	}
	if indexed {
		dst = append(dst, formatIndexed)
	} else {
		dst = append(dst, formatPlain)
	}
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	dst = e.appendIDs(dst, rows, indexed)
	dst = appendTimes(dst, rows)
	dst = appendAddresses(dst, rows)
	dst = appendPorts(dst, rows)
	for _, field := range stringColumns {
		dst = e.appendStrings(dst, rows, field)
	}
	clear(e.dictionary) // the frame's accounts are not to linger here
	clear(e.values)
	return dst
}

func (e *Encoder) appendIDs(dst []byte, rows []*Record, indexed bool) []byte {
	e.topics, e.runs = e.topics[:0], e.runs[:0]
	var previous ID
	for i, r := range rows {
		if id := &r.ID; i == 0 || !id.follows(&previous, indexed) {
			e.runs = append(e.runs, run{topic: e.topic(id.Topic), partition: id.Partition, first: id.Offset})
		}
		e.runs[len(e.runs)-1].rows++
		previous = r.ID
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.topics)))
	for _, topic := range e.topics {
		dst = append(dst, topic[:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.runs)))
	for _, r := range e.runs {
		dst = binary.AppendUvarint(dst, uint64(r.topic))
		dst = binary.AppendUvarint(dst, uint64(uint32(r.partition)))
		dst = binary.AppendUvarint(dst, uint64(r.first))
		dst = binary.AppendUvarint(dst, uint64(r.rows))
	}
	least := int64(1)
	if indexed {
		least = 0
	}
	left := rows
	for _, r := range e.runs {
		for i := 1; i < r.rows; i++ {
			dst = binary.AppendUvarint(dst, uint64(left[i].ID.Offset-left[i-1].ID.Offset-least))
		}
		left = left[r.rows:]
	}
	if indexed {
		dst = e.appendIndices(dst, rows)
	}
	return dst
}

// follows reports whether id may come after previous in one run.
func (id *ID) follows(previous *ID, indexed bool) bool {
	return id.Topic == previous.Topic && id.Partition == previous.Partition &&
		(id.Offset > previous.Offset || indexed && id.Offset == previous.Offset && id.Index > previous.Index)
}

func (e *Encoder) appendIndices(dst []byte, rows []*Record) []byte {
	for _, r := range e.runs {
		for i := range r.rows {
			index := rows[i].ID.Index
			if i > 0 && rows[i].ID.Offset == rows[i-1].ID.Offset {
				index -= rows[i-1].ID.Index + 1
			}
			dst = binary.AppendUvarint(dst, uint64(index))
		}
		rows = rows[r.rows:]
	}
	return dst
}

func (e *Encoder) topic(uuid [16]byte) int {
	for i := range e.topics {
		if e.topics[i] == uuid {
			return i
		}
	}
	e.topics = append(e.topics, uuid)
	return len(e.topics) - 1
}

func appendTimes(dst []byte, rows []*Record) []byte {
	var previous int64
	anySince := false
	for _, r := range rows {
		dst = binary.AppendVarint(dst, r.Time-previous)
		previous = r.Time
		anySince = anySince || r.Since != 0
	}
	if !anySince {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, r := range rows {
		var age uint64
		if r.Since != 0 {
			d := r.Time - r.Since
			age = (uint64(d<<1) ^ uint64(d>>63)) + 1
		}
		dst = binary.AppendUvarint(dst, age)
	}
	return dst
}

func appendAddresses(dst []byte, rows []*Record) []byte {
	families := len(dst)
	dst = append(dst, make([]byte, (len(rows)+7)/8)...)
	for i, r := range rows {
		ip := r.Address.Reveal()
		if ip.Is4() {
			four := ip.As4()
			dst = append(dst, four[:]...)
			continue
		}
		dst[families+i/8] |= 1 << (i % 8)
		sixteen := ip.As16()
		dst = append(dst, sixteen[:]...)
	}
	return dst
}

func appendPorts(dst []byte, rows []*Record) []byte {
	known, blocks := 0, 0
	for _, r := range rows {
		ports := &r.Ports
		if ports.Known {
			known++
			if ports.Last != ports.First {
				blocks++
			}
		}
	}
	switch {
	case known == 0:
		return append(dst, portsNone)
	case known == len(rows) && blocks == 0:
		dst = append(dst, portsSingle)
		for _, r := range rows {
			dst = binary.BigEndian.AppendUint16(dst, r.Ports.First)
		}
		return dst
	}
	dst = append(dst, portsMixed)
	for _, r := range rows {
		ports := r.Ports
		switch {
		case !ports.Known:
			dst = append(dst, 0)
		case ports.First == ports.Last:
			dst = append(dst, 1)
			dst = binary.BigEndian.AppendUint16(dst, ports.First)
		default:
			dst = append(dst, 2)
			dst = binary.BigEndian.AppendUint16(dst, ports.First)
			dst = binary.BigEndian.AppendUint16(dst, ports.Last)
		}
	}
	return dst
}

const (
	portsNone   = 0
	portsSingle = 1
	portsMixed  = 2
)

// stringColumns are the string fields in the order of their columns.
var stringColumns = [...]func(*Record) *string{
	func(r *Record) *string { return &r.Account },
	func(r *Record) *string { return &r.Event },
	func(r *Record) *string { return &r.Session },
	func(r *Record) *string { return &r.Server },
	func(r *Record) *string { return &r.Transport },
	func(r *Record) *string { return &r.Client },
	func(r *Record) *string { return &r.Outcome },
}

func (e *Encoder) appendStrings(dst []byte, rows []*Record, field func(*Record) *string) []byte {
	if e.buildDictionary(rows, field) {
		if len(e.values) == 1 {
			return appendString(append(dst, stringsSame), e.values[0])
		}
		dst = append(dst, stringsIndexed, byte(len(e.values)))
		for _, value := range e.values {
			dst = appendString(dst, value)
		}
		return append(dst, e.index...)
	}
	if p, ok := e.packing(rows, field); ok {
		return e.appendPacked(dst, rows, field, p)
	}
	dst = append(dst, stringsPlain)
	for _, r := range rows {
		dst = appendString(dst, *field(r))
	}
	return dst
}

// trialRows are looked at to tell a column that hardly repeats itself, such as
// session ids: without the trial, a record of the tests took 235 ns instead of 100.
const trialRows = 64

// buildDictionary fills values and index, or reports that a dictionary would
// not pay: more than 255 values, more than half as many as rows, or more than
// fifteen of sixteen where it begins.
func (e *Encoder) buildDictionary(rows []*Record, field func(*Record) *string) bool {
	if e.dictionary == nil {
		e.dictionary = map[string]byte{}
	}
	clear(e.dictionary)
	e.values, e.index = e.values[:0], e.index[:0]
	most := max(min(255, len(rows)/2), 1)
	previous, index := "", byte(0)
	for i, r := range rows {
		if i == trialRows && len(e.values) > trialRows*15/16 {
			return false
		}
		if value := *field(r); i == 0 || value != previous {
			known := false
			if index, known = e.dictionary[value]; !known {
				if len(e.values) == most {
					return false
				}
				index = byte(len(e.values))
				e.dictionary[value] = index
				e.values = append(e.values, value)
			}
			previous = value
		}
		e.index = append(e.index, index)
	}
	return true
}
