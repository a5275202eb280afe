package seal

import (
	"bytes"
	"crypto/hpke"
	"crypto/rand"
	"encoding/binary"
	"fmt"

	"mayfly/retention"
	"mayfly/retention/secret"
)

// Wrap is a writer's encapsulated frame key: of use only to who holds the
// epoch's private key. It is published before the writer's first frame.
type Wrap struct {
	Writer       WriterID
	Encapsulated []byte
}

// Writer seals payloads for one epoch key. It is not for concurrent use.
type Writer struct {
	epoch    retention.Epoch
	key      KeyID
	wrap     Wrap
	frames   frameCipher
	sequence map[slot]uint64
	scratch  []byte
}

type slot struct {
	view  View
	shard uint32
}

// NewWriter encapsulates a fresh frame key to the epoch's public key.
func NewWriter(epoch retention.Epoch, key KeyID, publicKey []byte) (*Writer, error) {
	var id WriterID
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("drawing a writer id: %w", err)
	}
	w := &Writer{epoch: epoch, key: key, wrap: Wrap{Writer: id}, sequence: map[slot]uint64{}}
	var err error
	secret.Do(func() { w.wrap.Encapsulated, w.frames, err = encapsulate(epoch, key, id, publicKey) })
	if err != nil {
		return nil, err
	}
	w.wrap.Encapsulated = bytes.Clone(w.wrap.Encapsulated) // published: not to be erased
	return w, nil
}

func encapsulate(epoch retention.Epoch, key KeyID, id WriterID, publicKey []byte) ([]byte, frameCipher, error) {
	public, err := kem().NewPublicKey(publicKey)
	if err != nil {
		return nil, frameCipher{}, fmt.Errorf("reading the public key of epoch %v: %w", epoch, err)
	}
	encapsulated, sender, err := hpke.NewSender(public, kdf(), aead(), info(epoch.String(), key, id))
	if err != nil {
		return nil, frameCipher{}, fmt.Errorf("encapsulating to epoch %v: %w", epoch, err)
	}
	frameKey, err := sender.Export(frameKeyLabel, 32)
	if err != nil {
		return nil, frameCipher{}, fmt.Errorf("deriving the frame key of epoch %v: %w", epoch, err)
	}
	defer clear(frameKey)
	frames, err := newFrameCipher(frameKey)
	return encapsulated, frames, err
}

// Wrap is the writer's encapsulated frame key, to publish.
func (w *Writer) Wrap() Wrap { return w.wrap }

// Seal makes the next frame of a view and shard. The payload is not kept.
// A sealed frame counts, stored or not: try again with the same frame, never
// with a new one under the same sequence.
func (w *Writer) Seal(view View, shard uint32, payload []byte) Frame {
	s := slot{view, shard}
	w.sequence[s]++
	place := Place{Epoch: w.epoch, Key: w.key, View: view, Shard: shard}
	return w.seal(place, w.sequence[s], payload)
}

func (w *Writer) seal(place Place, sequence uint64, payload []byte) Frame {
	bytes := make([]byte, 0, headLength+binary.MaxVarintLen64+len(payload)+tagLength)
	bytes = append(bytes, frameVersion)
	bytes = append(bytes, w.wrap.Writer[:]...)
	bytes = binary.AppendUvarint(bytes, sequence)
	body := len(bytes)
	w.scratch = appendAssociated(w.scratch[:0], place, w.wrap.Writer, sequence)
	n := nonce(place, sequence)
	bytes = w.frames.seal(bytes, n[:], payload, w.scratch)
	return Frame{Place: place, Writer: w.wrap.Writer, Sequence: sequence, bytes: bytes, body: body}
}

// Written is how many frames the writer has sealed for a view and shard.
func (w *Writer) Written(view View, shard uint32) uint64 { return w.sequence[slot{view, shard}] }
