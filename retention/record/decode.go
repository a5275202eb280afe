package record

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	"mayfly/retention/address"
)

// Decode reads back what Encoder.Append wrote and appends the records to dst.
// Everything is bounded by the payload's own length before it is allocated;
// anything that Append would not have written is ErrFormat.
func Decode(dst []Record, payload []byte) ([]Record, error) {
	r := &columnReader{rest: string(payload)} // one copy; the records' strings are slices of it
	version := r.byte()
	if version != formatPlain && version != formatIndexed {
		return dst, ErrFormat
	}
	n := r.uvarint()
	if n == 0 || n > MaxRows || n > uint64(len(r.rest)) {
		return dst, ErrFormat
	}
	start := len(dst)
	dst = append(dst, make([]Record, n)...)
	rows := dst[start:]
	r.readIDs(rows, version == formatIndexed)
	r.readTimes(rows)
	r.readAddresses(rows)
	r.readPorts(rows)
	for _, field := range stringColumns {
		r.readStrings(len(rows), func(i int, value string) { *field(&rows[i]) = value })
	}
	if r.failed || len(r.rest) != 0 {
		clear(rows)
		return dst[:start], ErrFormat
	}
	return dst, nil
}

func (r *columnReader) readIDs(rows []Record, indexed bool) {
	topics := r.uvarint()
	uuids := r.bytes(min(topics, MaxRows) * 16)
	runs := r.uvarint()
	if r.failed || topics > uint64(len(rows)) || runs > uint64(len(rows)) {
		r.fail()
		return
	}
	type head struct{ first, rows int }
	heads := make([]head, 0, runs)
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
		heads = append(heads, head{next, int(count)})
		next += int(count)
	}
	if next != len(rows) {
		r.fail()
		return
	}
	least := uint64(1)
	if indexed {
		least = 0
	}
	for _, h := range heads {
		for i := h.first + 1; i < h.first+h.rows; i++ {
			step, most := r.uvarint(), uint64(math.MaxInt64-rows[i-1].ID.Offset)
			if step > most || step+least > most {
				r.fail()
				return
			}
			rows[i].ID.Offset = rows[i-1].ID.Offset + int64(step+least)
		}
	}
	if !indexed {
		return
	}
	for _, h := range heads {
		r.readIndices(rows[h.first : h.first+h.rows])
	}
	// Without an index it would have been the other version.
	if !slices.ContainsFunc(rows, func(row Record) bool { return row.ID.Index != 0 }) {
		r.fail()
	}
}

// readIndices reads those of one run, whose offsets are known.
func (r *columnReader) readIndices(run []Record) {
	for i := range run {
		least := uint64(0)
		if i > 0 && run[i].ID.Offset == run[i-1].ID.Offset {
			least = uint64(run[i-1].ID.Index) + 1
		}
		index := r.uvarint()
		if index > math.MaxUint32 || least+index > math.MaxUint32 {
			r.fail()
			return
		}
		run[i].ID.Index = uint32(least + index)
	}
}

func (r *columnReader) readTimes(rows []Record) {
	var t int64
	for i := range rows {
		t += r.varint()
		rows[i].Time = t
	}
	switch r.byte() {
	case 0:
	case 1:
		for i := range rows {
			if age := r.uvarint(); age != 0 {
				age--
				rows[i].Since = rows[i].Time - (int64(age>>1) ^ -int64(age&1))
			}
		}
	default:
		r.fail()
	}
}

func (r *columnReader) readAddresses(rows []Record) {
	families := r.bytes(uint64(len(rows)+7) / 8)
	for i := range rows {
		if r.failed {
			return
		}
		var ip netip.Addr
		if families[i/8]&(1<<(i%8)) == 0 {
			ip, _ = netip.AddrFromSlice([]byte(r.bytes(4)))
		} else {
			ip, _ = netip.AddrFromSlice([]byte(r.bytes(16)))
		}
		a, err := address.From(ip)
		if err != nil {
			r.fail()
			return
		}
		rows[i].Address = a
	}
}

func (r *columnReader) readPorts(rows []Record) {
	form := r.byte()
	for i := range rows {
		kind := byte(1)
		switch form {
		case portsNone:
			return
		case portsSingle:
		case portsMixed:
			kind = r.byte()
		default:
			r.fail()
		}
		if r.failed || kind > 2 {
			r.fail()
			return
		}
		if kind == 0 {
			continue
		}
		first := r.port()
		last := first
		if kind == 2 {
			last = r.port()
		}
		rows[i].Ports = Ports{First: first, Last: last, Known: true}
	}
}

func (r *columnReader) port() uint16 {
	b := r.bytes(2)
	if r.failed {
		return 0
	}
	return binary.BigEndian.Uint16([]byte(b))
}
