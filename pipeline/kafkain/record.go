package kafkain

// rawRecord is a record as its batch holds it; slices point into the batch.
type rawRecord struct {
	offsetDelta, stampDelta int64
	key, value              []byte // nil: null
}

// parseRecord reads the first record (https://kafka.apache.org/documentation/#record).
// Every length is checked against the bytes that are there.
func parseRecord(b []byte) (r rawRecord, rest []byte, ok bool) {
	length, b, ok := varint(b)
	if !ok || length < 0 || length > int64(len(b)) {
		return r, nil, false
	}
	b, rest = b[:length:length], b[length:]
	if len(b) == 0 {
		return r, nil, false
	}
	b = b[1:] // attributes: unused
	if r.stampDelta, b, ok = varint(b); !ok {
		return r, nil, false
	}
	if r.offsetDelta, b, ok = varint(b); !ok || r.offsetDelta < 0 || r.offsetDelta > 1<<31-1 {
		return r, nil, false
	}
	if r.key, b, ok = nullable(b); !ok {
		return r, nil, false
	}
	if r.value, b, ok = nullable(b); !ok {
		return r, nil, false
	}
	return r, rest, skipHeaders(b)
}

// skipHeaders reports whether b is a count of headers and as many headers, and no more.
func skipHeaders(b []byte) bool {
	count, b, ok := varint(b)
	if !ok || count < 0 || count > int64(len(b)/2) {
		return false
	}
	for range count {
		var key []byte
		if key, b, ok = nullable(b); !ok || key == nil {
			return false
		}
		if _, b, ok = nullable(b); !ok {
			return false
		}
	}
	return len(b) == 0
}

// nullable reads a length, -1 for null, and as many bytes.
func nullable(b []byte) (value, rest []byte, ok bool) {
	length, b, ok := varint(b)
	switch {
	case !ok || length < -1 || length > int64(len(b)):
		return nil, nil, false
	case length == -1:
		return nil, b, true
	}
	return b[:length:length], b[length:], true
}

// varint reads a zigzag-coded integer of at most ten bytes.
func varint(b []byte) (value int64, rest []byte, ok bool) {
	if len(b) > 0 && b[0] < 0x80 {
		return int64(b[0]>>1) ^ -int64(b[0]&1), b[1:], true
	}
	return longVarint(b)
}

func longVarint(b []byte) (value int64, rest []byte, ok bool) {
	var bits uint64
	for i := 0; i < len(b) && i < 10; i++ {
		bits |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return int64(bits>>1) ^ -int64(bits&1), b[i+1:], true
		}
	}
	return 0, nil, false
}
