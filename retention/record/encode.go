package record

import (
	"encoding/binary"
	"math/rand/v2"
)

// MaxRows is the most records in one payload.
const MaxRows = 1 << 16

// The first byte of every payload: records, or mentions. (1 and 2 were records before.)
const (
	formatRecords  = 3
	formatMentions = 4
)

// Encoder writes records as columns. It keeps scratch space between calls, so
// use one per goroutine. The same records in the same order give the same bytes.
//
// The payload, what a reader looks for first:
//
//	version, a byte; rows, uvarint
//	addresses
//	accounts: a column of strings
//	topics: count, UUIDs; runs of one partition: count, (topic, partition, first offset, rows), uvarints
//	offset steps (runs' first rows left out): a column of integers
//	indices within the Kafka record, or what one adds to the row before − 1 where
//	that has the same offset: a column of integers
//	times: the first, uvarint of its zigzag; zigzags of the differences: a column of integers
//	since: per row 0, or the zigzag of time − since, and 1: a column of integers
//	ports
//	event, session, server, transport, client, outcome: columns of strings
type Encoder struct {
	topics [][16]byte
	runs   []run

	// Scratch of the columns.
	numbers, present, lengths []uint64
	heads4, heads6            []uint64
	tails                     []byte
	few                       few
	dictionary                *dictionary
	columns                   [len(stringColumns)][]string // of all rows; of no length where all are empty
	values                    []string
	places, symbols           []byte
	looked                    int       // see gather
	codes                     [256]byte // of the symbols
}

type run struct {
	topic     int
	partition int32
	first     int64
	rows      int
}

func randomFactor() uint64 { return rand.Uint64() | 1 } //nolint:gosec // spreads a table, hides nothing

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
	e.gather(rows)
	dst = append(dst, formatRecords)
	dst = binary.AppendUvarint(dst, uint64(len(rows)))
	dst = e.appendAddresses(dst, rows)
	dst = e.appendStrings(dst, e.columns[0])
	dst = e.appendIDs(dst, rows)
	dst = e.appendTimes(dst, rows)
	dst = e.appendPorts(dst, rows)
	for _, column := range e.columns[1:] {
		dst = e.appendStrings(dst, column)
	}
	clear(e.values[:cap(e.values)]) // the frame's accounts are not to linger here
	for _, column := range e.columns {
		clear(column)
	}
	return dst
}

// gather fills e.columns. The rows of a shard, and their texts, lie scattered over
// all that ingest holds, and waiting for memory is most of what encoding them takes.
// So it begins with loops that look at each line of memory, and don't need the answer
// for the next row: the processor then waits for many at once. Sealing 240,000 events
// in 900 shards took 0.48 µs of each without, and 0.32 with.
func (e *Encoder) gather(rows []*Record) {
	looked, others := 0, 0
	for _, r := range rows {
		looked += int(r.ID.Offset) + len(r.Account)
		others |= len(r.Transport) | len(r.Client) | len(r.Outcome)
	}
	filled := len(e.columns)
	if others == 0 { // as ever where no policy keeps them
		filled -= 3
	}
	for i := range e.columns {
		if e.columns[i] = e.columns[i][:0]; i < filled {
			resize(&e.columns[i], len(rows))
			e.columns[i] = e.columns[i][:len(rows)]
		}
	}
	accounts, events, sessions, servers := e.columns[0], e.columns[1], e.columns[2], e.columns[3]
	for i, r := range rows {
		accounts[i], events[i], sessions[i], servers[i] = r.Account, r.Event, r.Session, r.Server
	}
	for i, account := range accounts {
		if account != "" {
			looked += int(account[0])
		}
		if session := sessions[i]; session != "" {
			looked += int(session[0])
		}
	}
	if others != 0 {
		transports, clients, outcomes := e.columns[4], e.columns[5], e.columns[6]
		for i, r := range rows {
			transports[i], clients[i], outcomes[i] = r.Transport, r.Client, r.Outcome
		}
	}
	e.looked = looked // else the compiler would leave all looking out
}

func (e *Encoder) appendIDs(dst []byte, rows []*Record) []byte {
	e.topics, e.runs = e.topics[:0], e.runs[:0]
	steps := resize(&e.numbers, len(rows))[:0]
	indices := resize(&e.present, len(rows))
	var previous *ID
	for i, r := range rows {
		id := &r.ID
		indices[i] = uint64(id.Index)
		if previous == nil || !id.follows(previous) {
			e.runs = append(e.runs, run{topic: e.topic(id.Topic), partition: id.Partition, first: id.Offset})
		} else {
			steps = append(steps, uint64(id.Offset-previous.Offset))
			if id.Offset == previous.Offset {
				indices[i] -= uint64(previous.Index) + 1
			}
		}
		e.runs[len(e.runs)-1].rows++
		previous = id
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
	return appendInts(appendInts(dst, steps), indices)
}

// follows reports whether id may come after previous in one run.
func (id *ID) follows(previous *ID) bool {
	return (id.Offset > previous.Offset || id.Offset == previous.Offset && id.Index > previous.Index) &&
		id.Partition == previous.Partition && id.Topic == previous.Topic
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

func (e *Encoder) appendTimes(dst []byte, rows []*Record) []byte {
	steps := resize(&e.numbers, len(rows))[:0]
	previous := rows[0].Time
	dst = binary.AppendUvarint(dst, zigzag(previous))
	for _, r := range rows[1:] {
		steps = append(steps, zigzag(r.Time-previous))
		previous = r.Time
	}
	dst = appendInts(dst, steps)
	ages := resize(&e.numbers, len(rows))
	for i, r := range rows {
		if ages[i] = 0; r.Since != 0 {
			ages[i] = zigzag(r.Time-r.Since) + 1
		}
	}
	return appendInts(dst, ages)
}

// The kinds of ports.
const (
	portNone  = 0
	portOne   = 1
	portBlock = 2
)

// appendPorts writes four columns of integers: the kind of each row; the
// single ports; the first ports of blocks; how many more each block has.
func (e *Encoder) appendPorts(dst []byte, rows []*Record) []byte {
	kinds := resize(&e.numbers, len(rows))
	ones, firsts, mores := resize(&e.present, len(rows))[:0], resize(&e.heads4, len(rows))[:0], resize(&e.heads6, len(rows))[:0]
	for i, r := range rows {
		switch ports := &r.Ports; {
		case !ports.Known:
			kinds[i] = portNone
		case ports.First == ports.Last:
			kinds[i] = portOne
			ones = append(ones, uint64(ports.First))
		default:
			kinds[i] = portBlock
			firsts = append(firsts, uint64(ports.First))
			mores = append(mores, uint64(ports.Last-ports.First))
		}
	}
	for _, column := range [][]uint64{kinds, ones, firsts, mores} {
		dst = appendInts(dst, column)
	}
	return dst
}

// stringColumns are the string fields; the account's column comes early, the
// others last, in this order.
var stringColumns = [...]func(*Record) *string{
	func(r *Record) *string { return &r.Account },
	func(r *Record) *string { return &r.Event },
	func(r *Record) *string { return &r.Session },
	func(r *Record) *string { return &r.Server },
	func(r *Record) *string { return &r.Transport },
	func(r *Record) *string { return &r.Client },
	func(r *Record) *string { return &r.Outcome },
}
