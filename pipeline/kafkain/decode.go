package kafkain

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	// minRecord is the size of the smallest record: seven fields of one byte.
	minRecord = 7
	// maxRecords bounds one batch, 40 MB: a few kilobytes of zstd can name nine million
	// records of no bytes, which would take 400.
	maxRecords = 1 << 20
	// handOver is how many decompressed bytes a Batch has at the least, where there are
	// more: few enough for the processor's cache to have them still when they are read.
	handOver = 256 << 10
	// keptArena is how many decompressed bytes a decoder keeps room for.
	keptArena = 4 << 20
	// keptRecords is how many a decoder keeps room for; a busy fetch brings some ten thousand.
	keptRecords = 1 << 17
)

var errMalformed = errors.New("malformed record")

// decoder turns the record sets of one partition into Batches. It reuses its
// buffers: what it hands out is valid until the callback returns.
type decoder struct {
	uncommitted bool
	limit       int                // decompressed bytes after which a Batch is handed over
	refused     func(reason error) // told of batches that are intact but can't be decoded

	batch   Batch
	began   int64 // where the batch under way starts
	records []Record
	arena   []byte // decompressed bytes that the records point into

	pending []abortedTransaction // not reached yet, by offset
	aborted map[int64]struct{}   // producers whose transaction under way is void
}

// decode hands over the batches of a record set from an offset on. When the
// set is corrupt it hands over what came before and returns errCorrupt.
func (d *decoder) decode(set []byte, from int64, aborted []abortedTransaction, emit func(*Batch) error) error {
	d.reset(from)
	d.pending = append(d.pending[:0], aborted...)
	slices.SortFunc(d.pending, func(a, b abortedTransaction) int {
		return cmp.Compare(a.FirstOffset, b.FirstOffset)
	})
	clear(d.aborted)

	for first := true; len(set) > 0; first = false {
		b, err := parseBatch(set)
		if errors.Is(err, errIncomplete) && !first {
			break // the next fetch starts with it
		}
		if err == nil {
			set = set[b.size:]
			if b.last < d.batch.Next {
				continue // read already
			}
			err = d.take(&b, emit)
		}
		if err != nil {
			return errors.Join(d.flush(emit), err)
		}
	}
	return d.flush(emit)
}

func (d *decoder) reset(from int64) {
	d.began = from
	d.batch = Batch{Next: from}
	d.records, d.arena = d.records[:0], d.arena[:0]
}

// flush hands over the batch under way if reading has moved at all.
func (d *decoder) flush(emit func(*Batch) error) error {
	if d.batch.Next == d.began {
		return nil
	}
	d.batch.Records = d.records
	err := emit(&d.batch)
	clear(d.arena)
	d.reset(d.batch.Next)
	// One large batch shall not hold its memory for ever.
	if cap(d.arena) > max(4*d.limit, keptArena) {
		d.arena = nil
	}
	if cap(d.records) > keptRecords {
		d.records = nil
	}
	return err
}

// take adds one record batch to the Batch under way.
func (d *decoder) take(b *recordBatch, emit func(*Batch) error) error {
	d.startAborted(b.last)
	d.skipTo(b.base)
	switch {
	case b.is(attributeControl):
		if err := d.endTransaction(b); err != nil {
			return err
		}
		d.batch.Next = b.last + 1
	case d.isAborted(b):
		d.batch.Next = b.last + 1
	default:
		appendTime := b.is(attributeAppendTime)
		if len(d.records) > 0 && (appendTime != d.batch.AppendTime || len(d.arena) >= d.limit) {
			if err := d.flush(emit); err != nil {
				return err
			}
		}
		d.batch.AppendTime = appendTime
		d.takeRecords(b)
	}
	d.batch.Bytes += b.size
	return nil
}

// skipTo moves on to an offset and counts what is missing on the way.
func (d *decoder) skipTo(offset int64) {
	if offset > d.batch.Next {
		d.batch.Gap += offset - d.batch.Next
		d.batch.Next = offset
	}
}

// takeRecords adds the records of a batch, all or none: a batch that can't be
// decoded, though its checksum holds, was written that way. Fetching it again
// would bring the same, so it is reported and counted as a gap.
func (d *decoder) takeRecords(b *recordBatch) {
	records, next, gap := len(d.records), d.batch.Next, d.batch.Gap
	if err := d.parseRecords(b); err != nil {
		d.records, d.batch.Next, d.batch.Gap = d.records[:records], next, gap
		d.refused(err)
	}
	d.skipTo(b.last + 1)
}

func (d *decoder) parseRecords(b *recordBatch) error {
	payload := b.records
	if codec := b.attributes & attributeCodec; codec != 0 {
		start := len(d.arena)
		var err error
		if d.arena, err = appendDecompressed(d.arena, codec, payload); err != nil {
			clear(d.arena[start:cap(d.arena)])
			d.arena = d.arena[:start]
			return err
		}
		payload = d.arena[start:]
	}
	if b.count < 0 || int64(b.count) > int64(len(payload)/minRecord) {
		return errMalformed
	}
	if b.count > maxRecords {
		return errTooLarge
	}
	d.records = slices.Grow(d.records, int(b.count))
	from, previous := d.batch.Next, b.base-1
	for range b.count {
		r, rest, ok := parseRecord(payload)
		offset := b.base + r.offsetDelta
		if !ok || offset <= previous || offset > b.last {
			return errMalformed
		}
		payload, previous = rest, offset
		if offset < from {
			continue // fetches bring whole batches, also what lies before the offset asked for
		}
		stamp := b.maxStamp
		if !b.is(attributeAppendTime) {
			stamp = b.baseStamp + r.stampDelta
		}
		d.skipTo(offset)
		d.batch.Next = offset + 1
		d.records = append(d.records, Record{Offset: offset, Stamp: stamp, Value: r.value})
	}
	if len(payload) != 0 {
		return errMalformed
	}
	return nil
}

// startAborted marks the producers whose void transactions begin at or before the offset.
func (d *decoder) startAborted(last int64) {
	for len(d.pending) > 0 && d.pending[0].FirstOffset <= last {
		if d.aborted == nil {
			d.aborted = make(map[int64]struct{})
		}
		d.aborted[d.pending[0].Producer] = struct{}{}
		d.pending = d.pending[1:]
	}
}

func (d *decoder) isAborted(b *recordBatch) bool {
	if d.uncommitted || !b.is(attributeTransactional) {
		return false
	}
	_, void := d.aborted[b.producer]
	return void
}

// endTransaction reads a marker. Its key is a version and a kind, 0 for abort;
// what the producer writes after an abort is a new transaction.
func (d *decoder) endTransaction(b *recordBatch) error {
	if b.count == 0 {
		return nil // compaction has removed the marker
	}
	marker, _, ok := parseRecord(b.records)
	if !ok || len(marker.key) < 4 {
		// Without it there is no telling which records count.
		return fmt.Errorf("%w: unreadable transaction marker", errCorrupt)
	}
	if binary.BigEndian.Uint16(marker.key[2:]) == 0 {
		delete(d.aborted, b.producer)
	}
	return nil
}
