package record

import (
	"encoding/binary"
)

// MaxRows is the most records in one payload.
const MaxRows = 1 << 16

// formatVersion is the first byte of every payload.
const formatVersion = 1

// Encoder writes records as columns. It keeps scratch space between calls, so
// use one per goroutine. The same records in the same order give the same bytes.
//
// The payload, integers as (zigzag) varints:
//
//	version, rows
//	topics: count, UUIDs; runs of one partition: count, (topic, partition, first offset, rows)
//	offset steps − 1 (runs' first rows left out)
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
}

type run struct {
	topic     int
	partition int32
	first     int64
	rows      int
}

// Append encodes the records that pick names, in that order, after dst.
// Offsets must ascend within a partition's run; they do when pick keeps the
// order of reading. len(pick) is 1 to MaxRows.
func (e *Encoder) Append(dst []byte, records []Record, pick []uint32) []byte {
	dst = append(dst, formatVersion)
	dst = binary.AppendUvarint(dst, uint64(len(pick)))
	dst = e.appendIDs(dst, records, pick)
	dst = appendTimes(dst, records, pick)
	dst = appendAddresses(dst, records, pick)
	dst = appendPorts(dst, records, pick)
	for column := range stringColumns {
		dst = e.appendStrings(dst, records, pick, column)
	}
	return dst
}

func (e *Encoder) appendIDs(dst []byte, records []Record, pick []uint32) []byte {
	e.topics, e.runs = e.topics[:0], e.runs[:0]
	previous := ID{Offset: -1}
	for i, p := range pick {
		id := &records[p].ID
		if i == 0 || id.Topic != previous.Topic || id.Partition != previous.Partition || id.Offset <= previous.Offset {
			e.runs = append(e.runs, run{topic: e.topic(id.Topic), partition: id.Partition, first: id.Offset})
		}
		e.runs[len(e.runs)-1].rows++
		previous = *id
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
	row := 0
	for _, r := range e.runs {
		for i := 1; i < r.rows; i++ {
			step := records[pick[row+i]].ID.Offset - records[pick[row+i-1]].ID.Offset
			dst = binary.AppendUvarint(dst, uint64(step-1))
		}
		row += r.rows
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

func appendTimes(dst []byte, records []Record, pick []uint32) []byte {
	var previous int64
	anySince := false
	for _, p := range pick {
		dst = binary.AppendVarint(dst, records[p].Time-previous)
		previous = records[p].Time
		anySince = anySince || records[p].Since != 0
	}
	if !anySince {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, p := range pick {
		var age uint64
		if since := records[p].Since; since != 0 {
			d := records[p].Time - since
			age = (uint64(d<<1) ^ uint64(d>>63)) + 1
		}
		dst = binary.AppendUvarint(dst, age)
	}
	return dst
}

func appendAddresses(dst []byte, records []Record, pick []uint32) []byte {
	families := len(dst)
	dst = append(dst, make([]byte, (len(pick)+7)/8)...)
	for i, p := range pick {
		ip := records[p].Address.Reveal()
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

func appendPorts(dst []byte, records []Record, pick []uint32) []byte {
	known, blocks := 0, 0
	for _, p := range pick {
		ports := &records[p].Ports
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
	case known == len(pick) && blocks == 0:
		dst = append(dst, portsSingle)
		for _, p := range pick {
			dst = binary.BigEndian.AppendUint16(dst, records[p].Ports.First)
		}
		return dst
	}
	dst = append(dst, portsMixed)
	for _, p := range pick {
		ports := records[p].Ports
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

func (e *Encoder) appendStrings(dst []byte, records []Record, pick []uint32, column int) []byte {
	field := stringColumns[column]
	if e.buildDictionary(records, pick, field) {
		if len(e.values) == 1 {
			return appendString(append(dst, stringsSame), e.values[0])
		}
		dst = append(dst, stringsIndexed, byte(len(e.values)))
		for _, value := range e.values {
			dst = appendString(dst, value)
		}
		return append(dst, e.index...)
	}
	dst = append(dst, stringsPlain)
	for _, p := range pick {
		dst = appendString(dst, *field(&records[p]))
	}
	return dst
}

// buildDictionary fills values and index, or reports that a dictionary would
// not pay: more than 255 values, or more than half as many as rows.
func (e *Encoder) buildDictionary(records []Record, pick []uint32, field func(*Record) *string) bool {
	if e.dictionary == nil {
		e.dictionary = map[string]byte{}
	}
	clear(e.dictionary)
	clear(e.values) // the last frame's accounts are not to linger here
	e.values, e.index = e.values[:0], e.index[:0]
	most := max(min(255, len(pick)/2), 1)
	for _, p := range pick {
		value := *field(&records[p])
		index, known := e.dictionary[value]
		if !known {
			if len(e.values) == most {
				return false
			}
			index = byte(len(e.values))
			e.dictionary[value] = index
			e.values = append(e.values, value)
		}
		e.index = append(e.index, index)
	}
	return true
}
