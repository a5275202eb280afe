package record

import (
	"math"
	"slices"

	"mayfly/retention/address"
)

// Decode reads back what Encoder.Append wrote and appends the records to dst.
// Everything is bounded by the payload's own length before it is allocated;
// anything that Append would not have written is ErrFormat.
func Decode(dst []Record, payload []byte) ([]Record, error) {
	return new(columnReader).decode(dst, string(payload)) // one copy; the records' strings are slices of it
}

// decode makes all rows; of those that are not wanted only what is quicker made than left out.
func (r *columnReader) decode(dst []Record, payload string) ([]Record, error) {
	r.rest, r.failed = payload, false
	defer func() { r.rest = "" }()
	n := r.head(formatRecords)
	start := len(dst)
	dst = slices.Grow(dst, n)[:start+n]
	rows := dst[start:]
	clear(rows)
	if n > 0 {
		r.readAddresses(n, func(i int, a address.Address) { rows[i].Address = a })
		r.readStrings(n, func(i int, value string) { rows[i].Account = value })
		r.readIDs(rows)
		r.readTimes(rows)
		r.readPorts(rows)
		for _, field := range stringColumns[1:] {
			r.readStrings(n, func(i int, value string) { *field(&rows[i]) = value })
		}
	}
	if r.failed || len(r.rest) != 0 {
		clear(rows)
		return dst[:start], ErrFormat
	}
	return dst, nil
}

// head reads the version and the number of rows: 0, and failed, where either is not right.
func (r *columnReader) head(version byte) int {
	if r.byte() != version {
		r.fail()
	}
	n := r.uvarint()
	if n == 0 || n > MaxRows || n > uint64(len(r.rest)) {
		r.fail()
	}
	if r.failed {
		return 0
	}
	return int(n)
}

func (r *columnReader) readIDs(rows []Record) {
	topics := r.uvarint()
	uuids := r.bytes(min(topics, MaxRows) * 16)
	runs := r.uvarint()
	if r.failed || topics > uint64(len(rows)) || runs > uint64(len(rows)) {
		r.fail()
		return
	}
	heads := make([]bool, len(rows)) // the runs' first rows
	next := 0
	for range runs {
		topic, partition, offset, count := r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
		if r.failed || topic >= topics || partition > math.MaxInt32 || offset > math.MaxInt64 ||
			count == 0 || count > uint64(len(rows)-next) {
			r.fail()
			return
		}
		id := ID{Topic: [16]byte([]byte(uuids[topic*16 : topic*16+16])), Partition: int32(partition), Offset: int64(offset)}
		for i := range int(count) {
			rows[next+i].ID = id
		}
		heads[next] = true
		next += int(count)
	}
	if next != len(rows) {
		r.fail()
		return
	}
	steps := r.ints(len(rows) - int(runs))
	for i := range rows {
		if heads[i] {
			continue
		}
		if steps[0] > uint64(math.MaxInt64-rows[i-1].ID.Offset) {
			r.fail()
			return
		}
		rows[i].ID.Offset = rows[i-1].ID.Offset + int64(steps[0])
		steps = steps[1:]
	}
	for i, index := range r.ints(len(rows)) {
		if !heads[i] && rows[i].ID.Offset == rows[i-1].ID.Offset {
			index += uint64(rows[i-1].ID.Index) + 1
		}
		if index > math.MaxUint32 {
			r.fail()
			return
		}
		rows[i].ID.Index = uint32(index)
	}
}

func (r *columnReader) readTimes(rows []Record) {
	t := unzigzag(r.uvarint())
	rows[0].Time = t
	for i, step := range r.ints(len(rows) - 1) {
		t += unzigzag(step)
		rows[i+1].Time = t
	}
	for i, age := range r.ints(len(rows)) {
		if age != 0 {
			rows[i].Since = rows[i].Time - unzigzag(age-1)
		}
	}
}

func (r *columnReader) readPorts(rows []Record) {
	var of [3][]int // rows by kind
	for i, kind := range r.ints(len(rows)) {
		if kind > portBlock {
			r.fail()
			return
		}
		of[kind] = append(of[kind], i)
	}
	for i, port := range r.ports(len(of[portOne])) {
		rows[of[portOne][i]].Ports = Ports{First: port, Last: port, Known: true}
	}
	for i, port := range r.ports(len(of[portBlock])) {
		rows[of[portBlock][i]].Ports = Ports{First: port, Known: true}
	}
	for i, more := range r.ports(len(of[portBlock])) {
		p := &rows[of[portBlock][i]].Ports
		p.Last = p.First + more
	}
}

func (r *columnReader) ports(n int) []uint16 {
	ports := make([]uint16, n)
	for i, port := range r.ints(n) {
		if port > math.MaxUint16 {
			r.fail()
		}
		ports[i] = uint16(port)
	}
	return ports
}
