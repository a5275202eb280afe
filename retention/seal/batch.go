package seal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"mayfly/retention"
)

// ErrBatch says that a message is no sealed batch. It tells nothing of the message.
var ErrBatch = errors.New("malformed sealed batch")

// Bounds of a sealed batch.
const (
	MaxBatch       = 1 << 20 // bytes; also what Kafka takes unless told otherwise
	MaxBatchEvents = 4096
)

// Batch is events of one epoch that were sealed before Kafka, as one message that
// stands for itself: its wrap is in it. Nothing of it tells an address, an
// account or a hash of one; what can be seen is how many events there are, and
// which shards have any of them. A shard is told by a hash under the layout key, so
// that without that key, which dies with its epoch, it says nothing.
//
// The message, integers as uvarints in their shortest form:
//
//	0xF5, version (1)                   0xF5 begins no UTF-8, and so no JSON
//	policy: length (1), name; epoch start, epoch length: ms
//	key id (8), writer (8)
//	encapsulated frame key: length, bytes
//	events
//	segments: count; each view (1), shard, length, sequence, ciphertext, tag
//
// A segment is a frame without the head that all of them would share. They
// ascend by view and shard, and both views have at least one.
type Batch struct {
	Epoch  retention.Epoch
	Key    KeyID
	Wrap   Wrap
	Events int     // as its writer says, 1 to MaxBatchEvents: it is counted by, and nothing else
	Frames []Frame // in their views AtEdge
}

const (
	batchMagic   = 0xF5
	batchVersion = 1
	// encapsulatedLength is that of ML-KEM-768 and X25519 together.
	encapsulatedLength = 1088 + 32
)

// IsBatch tells a sealed batch from a plain event, by the first byte.
func IsBatch(message []byte) bool { return len(message) > 0 && message[0] == batchMagic }

// WrapID names a wrap by what it is: nobody can make another of the same name.
type WrapID [16]byte

// ID is the first half of the wrap's SHA-256.
func (w Wrap) ID() WrapID {
	h := sha256.New()
	h.Write(w.Writer[:])
	h.Write(w.Encapsulated)
	return WrapID(h.Sum(nil)[:len(WrapID{})])
}

// Append writes the message after dst.
func (b *Batch) Append(dst []byte) []byte {
	dst = append(dst, batchMagic, batchVersion, byte(len(b.Epoch.Policy)))
	dst = append(dst, b.Epoch.Policy...)
	dst = binary.AppendUvarint(dst, uint64(b.Epoch.Start))
	dst = binary.AppendUvarint(dst, uint64(b.Epoch.Length))
	dst = append(dst, b.Key[:]...)
	dst = append(dst, b.Wrap.Writer[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(b.Wrap.Encapsulated)))
	dst = append(dst, b.Wrap.Encapsulated...)
	dst = binary.AppendUvarint(dst, uint64(b.Events))
	dst = binary.AppendUvarint(dst, uint64(len(b.Frames)))
	for i := range b.Frames {
		f := &b.Frames[i]
		dst = append(dst, byte(f.Place.View.Stored()))
		dst = binary.AppendUvarint(dst, uint64(f.Place.Shard))
		dst = binary.AppendUvarint(dst, uint64(len(f.Segment())))
		dst = append(dst, f.Segment()...)
	}
	return dst
}

// Segment is the frame without its head.
func (f *Frame) Segment() []byte { return f.bytes[headLength:] }

// ParseSegment puts the head back.
func ParseSegment(place Place, writer WriterID, segment []byte) (Frame, error) {
	stored := make([]byte, 0, headLength+len(segment))
	stored = append(stored, frameVersion)
	stored = append(stored, writer[:]...)
	return ParseFrame(place, append(stored, segment...))
}

// ParseBatch reads a message, which is untrusted: whether its frames are genuine
// shows only when they are opened. Nothing of the result refers to the message.
func ParseBatch(message []byte) (Batch, error) {
	if len(message) > MaxBatch || len(message) < 3 || message[0] != batchMagic || message[1] != batchVersion {
		return Batch{}, ErrBatch
	}
	p := batchParser{rest: message[2:]}
	var b Batch
	b.Epoch.Policy = string(p.bytes(uint64(p.byte())))
	b.Epoch.Start = int64(p.uvarint(math.MaxInt64 / 4))
	b.Epoch.Length = int64(p.uvarint(math.MaxInt64 / 4))
	copy(b.Key[:], p.bytes(uint64(len(b.Key))))
	copy(b.Wrap.Writer[:], p.bytes(uint64(len(b.Wrap.Writer))))
	if p.uvarint(encapsulatedLength) != encapsulatedLength {
		return Batch{}, ErrBatch
	}
	b.Wrap.Encapsulated = append([]byte(nil), p.bytes(encapsulatedLength)...)
	b.Events = int(p.uvarint(MaxBatchEvents))
	segments := p.uvarint(uint64(len(p.rest)))
	if p.failed {
		return Batch{}, ErrBatch
	}
	views := map[View]bool{}
	for range segments {
		f, err := p.segment(&b)
		if err != nil {
			return Batch{}, ErrBatch
		}
		views[f.Place.View] = true
		b.Frames = append(b.Frames, f)
	}
	epoch, err := retention.ParseEpoch(b.Epoch.String())
	if err != nil || epoch != b.Epoch || len(p.rest) != 0 || b.Events == 0 || len(views) != len(Views) {
		return Batch{}, ErrBatch
	}
	return b, nil
}

// batchParser cuts values off the front of a message. The first error sticks.
type batchParser struct {
	rest   []byte
	failed bool
}

func (p *batchParser) fail() { p.failed, p.rest = true, nil }

func (p *batchParser) bytes(n uint64) []byte {
	if n > uint64(len(p.rest)) {
		p.fail()
		return nil
	}
	b := p.rest[:n]
	p.rest = p.rest[n:]
	return b
}

func (p *batchParser) byte() byte {
	if b := p.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

// uvarint reads the shortest form of a number up to most.
func (p *batchParser) uvarint(most uint64) uint64 {
	value, n := binary.Uvarint(p.rest)
	if n <= 0 || value > most || n > 1 && p.rest[n-1] == 0 {
		p.fail()
		return 0
	}
	p.rest = p.rest[n:]
	return value
}

// segment reads the next frame of b, which must come after the one before.
func (p *batchParser) segment(b *Batch) (Frame, error) {
	view := View(p.byte())
	place := Place{Epoch: b.Epoch, Key: b.Key, View: view.AtEdge(), Shard: uint32(p.uvarint(maxShard))}
	segment := p.bytes(p.uvarint(MaxBatch))
	if p.failed || view != ByAddress && view != ByAccount {
		return Frame{}, ErrBatch
	}
	if n := len(b.Frames); n > 0 {
		before := b.Frames[n-1].Place
		if before.View > place.View || before.View == place.View && before.Shard >= place.Shard {
			return Frame{}, ErrBatch
		}
	}
	return ParseSegment(place, b.Wrap.Writer, segment)
}
