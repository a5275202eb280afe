package record

import (
	"encoding/binary"
	"unsafe"
)

// Mention says that the shard of one view has a record of a subject of the
// other. The subject is a keyed hash: one that collides costs a look at another
// shard, and nothing else.
type Mention struct {
	Subject uint32
	Shard   uint32
}

// AppendMentions encodes 1 to MaxRows mentions after dst: version, a byte;
// count, uvarint; subjects, 4 bytes each; shards: a column of integers.
func (e *Encoder) AppendMentions(dst []byte, mentions []Mention) []byte {
	dst = append(dst, formatMentions)
	dst = binary.AppendUvarint(dst, uint64(len(mentions)))
	shards := resize(&e.numbers, len(mentions))
	for i, m := range mentions {
		dst = binary.LittleEndian.AppendUint32(dst, m.Subject)
		shards[i] = uint64(m.Shard)
	}
	return appendInts(dst, shards)
}

// Mentioned calls visit with each shard that a payload of AppendMentions has for
// a subject, as often as it is there.
func Mentioned(payload []byte, subject uint32, visit func(shard uint32)) error {
	return EachMention(payload, func(m Mention) {
		if m.Subject == subject {
			visit(m.Shard)
		}
	})
}

// EachMention calls visit with the mentions of a payload of AppendMentions.
func EachMention(payload []byte, visit func(Mention)) error {
	r := &columnReader{rest: unsafe.String(unsafe.SliceData(payload), len(payload))} // which no mention outlives
	n := r.head(formatMentions)
	subjects := r.bytes(4 * uint64(n))
	shards := r.ints(n)
	if r.failed || len(r.rest) != 0 {
		return ErrFormat
	}
	for i, shard := range shards {
		visit(Mention{Subject: uint32(word(subjects[4*i:4*i+4], 0)), Shard: uint32(shard)})
	}
	return nil
}
