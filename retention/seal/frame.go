package seal

import (
	"bytes"
	"encoding/binary"

	"mayfly/retention"
)

// View is the order in which a payload is found again.
type View uint8

// The views of an epoch. Their numbers are part of the format.
const (
	ByAddress View = 1
	ByAccount View = 2
	Manifest  View = 3 // what a writer has written so far; always shard 0
)

// Views are the views that hold records.
var Views = []View{ByAddress, ByAccount}

// edge marks the views of what was sealed before Kafka.
const edge View = 0x80

// AtEdge is the view of frames that were sealed before Kafka: such a frame does
// not open as one that ingest has sealed and stored, nor the other way.
func (v View) AtEdge() View { return v | edge }

// Stored is the view in which ingest stores what was sealed AtEdge.
func (v View) Stored() View { return v &^ edge }

// String is the view's name in keys.
func (v View) String() string {
	switch v.Stored() {
	case ByAddress:
		return "ip"
	case ByAccount:
		return "account"
	case Manifest:
		return "manifest"
	}
	return "unknown"
}

// Place is where a frame belongs. All of it is bound to the frame as
// associated data: a frame moved elsewhere does not open.
type Place struct {
	Epoch retention.Epoch
	Key   KeyID
	View  View
	Shard uint32 // less than 1<<24
}

// Frame is one sealed payload. Only Writer.Seal and ParseFrame make frames, so
// nothing that takes a Frame can be handed an address in the clear.
//
// Its bytes: version (1), writer (8), sequence (uvarint), ciphertext, tag (16).
// AES-256-GCM; the nonce is view (1), shard (3), sequence (8), which a writer
// never uses twice under its frame key.
type Frame struct {
	Place    Place
	Writer   WriterID
	Sequence uint64 // 1, 2, 3, … per writer, view and shard, without gaps
	bytes    []byte
	body     int // where the ciphertext begins
}

// Bytes is the frame as it is stored; the caller must not change it.
func (f *Frame) Bytes() []byte { return f.bytes }

// Clone is the frame with bytes of its own: those of a stored one are part of a whole
// answer of Redis.
func (f *Frame) Clone() Frame {
	clone := *f
	clone.bytes = bytes.Clone(f.bytes)
	return clone
}

// Length is how many bytes the payload and its tag have.
func (f *Frame) Length() int { return len(f.bytes) - f.body }

const (
	frameVersion = 1
	headLength   = 1 + len(WriterID{})
	tagLength    = 16
	maxSequence  = 1 << 62
	maxShard     = 1<<24 - 1
)

// ParseFrame reads the head of a stored frame. Whether the rest is genuine
// shows only in Reader.Open.
func ParseFrame(place Place, stored []byte) (Frame, error) {
	if len(stored) < headLength+1+tagLength || stored[0] != frameVersion {
		return Frame{}, ErrOpen
	}
	sequence, n := binary.Uvarint(stored[headLength:])
	if n <= 0 || sequence == 0 || sequence > maxSequence || len(stored) < headLength+n+tagLength ||
		n > 1 && stored[headLength+n-1] == 0 { // not the shortest spelling
		return Frame{}, ErrOpen
	}
	return Frame{
		Place: place, Writer: WriterID(stored[1:headLength]), Sequence: sequence,
		bytes: stored, body: headLength + n,
	}, nil
}

// appendAssociated appends the associated data of the frame at p.
func appendAssociated(dst []byte, p Place, writer WriterID, sequence uint64) []byte {
	dst = append(dst, "mayfly frame v1\x00"...)
	dst = appendPlace(dst, p)
	dst = append(dst, writer[:]...)
	return binary.BigEndian.AppendUint64(dst, sequence)
}

// appendPlace appends a place, in one spelling only.
func appendPlace(dst []byte, p Place) []byte {
	dst = append(dst, byte(len(p.Epoch.Policy)))
	dst = append(dst, p.Epoch.Policy...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Epoch.Start))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Epoch.Length))
	dst = append(dst, p.Key[:]...)
	dst = append(dst, byte(p.View))
	return binary.BigEndian.AppendUint32(dst, p.Shard)
}

func nonce(p Place, sequence uint64) [12]byte {
	var n [12]byte
	binary.BigEndian.PutUint32(n[:4], p.Shard)
	n[0] = byte(p.View)
	binary.BigEndian.PutUint64(n[4:], sequence)
	return n
}
