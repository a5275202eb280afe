package record

import (
	"math"
	"slices"
)

// Decode reads back what Encoder.Append wrote and appends the records to dst.
// Everything is bounded by the payload's own length before it is allocated;
// anything that Append would not have written is ErrFormat.
func Decode(dst []Record, payload []byte) ([]Record, error) {
	var c Columns
	if err := c.decode(string(payload), nil); err != nil { // one copy; the records' strings are slices of it
		return dst, err
	}
	dst = slices.Grow(dst, c.Len())
	for i := range c.Len() {
		dst = append(dst, c.record(i))
	}
	return dst, nil
}

// decode makes all rows; of those that are not wanted only what is quicker made than left out.
func (c *Columns) decode(payload string, wanted []bool) error {
	r := &c.reader
	r.rest, r.failed, r.wanted, r.made = payload, false, wanted, r.made[:0]
	defer func() { r.rest, r.wanted = "", nil }()
	n := r.head(formatRecords)
	c.resize(n)
	if n > 0 {
		r.readAddresses(c.Addresses)
		r.texts(&c.Accounts, n)
		r.readIDs(c.IDs)
		r.readTimes(c.Times, c.Since)
		r.readPorts(c.Ports)
		columns := c.texts()
		for _, column := range columns[1:] {
			r.texts(column, n)
		}
	}
	if r.failed || len(r.rest) != 0 {
		c.Wipe()
		return ErrFormat
	}
	return nil
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

func (r *columnReader) readIDs(rows []ID) {
	topics := r.uvarint()
	uuids := r.bytes(min(topics, MaxRows) * 16)
	runs := r.uvarint()
	if r.failed || topics > uint64(len(rows)) || runs > uint64(len(rows)) {
		r.fail()
		return
	}
	heads := resize(&r.flags, len(rows)) // the runs' first rows
	clear(heads)
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
			rows[next+i] = id
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
		if steps[0] > uint64(math.MaxInt64-rows[i-1].Offset) {
			r.fail()
			return
		}
		rows[i].Offset = rows[i-1].Offset + int64(steps[0])
		steps = steps[1:]
	}
	for i, index := range r.ints(len(rows)) {
		if !heads[i] && rows[i].Offset == rows[i-1].Offset {
			index += uint64(rows[i-1].Index) + 1
		}
		if index > math.MaxUint32 {
			r.fail()
			return
		}
		rows[i].Index = uint32(index)
	}
}

func (r *columnReader) readTimes(times, since []int64) {
	t := unzigzag(r.uvarint())
	times[0] = t
	for i, step := range r.ints(len(times) - 1) {
		t += unzigzag(step)
		times[i+1] = t
	}
	for i, age := range r.ints(len(times)) {
		if since[i] = 0; age != 0 {
			since[i] = times[i] - unzigzag(age-1)
		}
	}
}

func (r *columnReader) readPorts(rows []Ports) {
	r.ones, r.blocks = r.ones[:0], r.blocks[:0]
	clear(rows)
	for i, kind := range r.ints(len(rows)) {
		switch kind {
		case portNone:
		case portOne:
			r.ones = append(r.ones, uint32(i))
		case portBlock:
			r.blocks = append(r.blocks, uint32(i))
		default:
			r.fail()
			return
		}
	}
	for i, port := range r.ints(len(r.ones)) {
		rows[r.ones[i]] = Ports{First: r.port(port), Last: r.port(port), Known: true}
	}
	for i, port := range r.ints(len(r.blocks)) {
		rows[r.blocks[i]] = Ports{First: r.port(port), Known: true}
	}
	for i, more := range r.ints(len(r.blocks)) {
		p := &rows[r.blocks[i]]
		p.Last = p.First + r.port(more)
	}
}

func (r *columnReader) port(v uint64) uint16 {
	if v > math.MaxUint16 {
		r.fail()
	}
	return uint16(v)
}
