package seal

import (
	"crypto/cipher"
	"crypto/hpke"
	"fmt"

	"mayfly/retention"
)

// PrivateKey opens the wraps of one epoch key.
type PrivateKey struct{ key hpke.PrivateKey }

// GenerateKey makes an epoch's key pair; the first result is the public key's bytes.
func GenerateKey() (public []byte, private PrivateKey, err error) {
	k, err := kem().GenerateKey()
	if err != nil {
		return nil, PrivateKey{}, fmt.Errorf("generating an epoch key: %w", err)
	}
	return k.PublicKey().Bytes(), PrivateKey{k}, nil
}

// ParsePrivateKey reads what Bytes wrote.
func ParsePrivateKey(b []byte) (PrivateKey, error) {
	k, err := kem().NewPrivateKey(b)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("reading an epoch's private key: %w", err)
	}
	return PrivateKey{k}, nil
}

// Bytes is the private key itself, to be wrapped by the key-encryption key.
func (p PrivateKey) Bytes() ([]byte, error) { return p.key.Bytes() }

// String hides the key.
func (p PrivateKey) String() string { return "[private key]" }

// GoString hides the key.
func (p PrivateKey) GoString() string { return "[private key]" }

// Reader opens the frames of one writer.
type Reader struct {
	epoch  retention.Epoch
	key    KeyID
	writer WriterID
	frames cipher.AEAD
}

// NewReader recovers a writer's frame key from its wrap.
func NewReader(epoch retention.Epoch, key KeyID, private PrivateKey, wrap Wrap) (*Reader, error) {
	recipient, err := hpke.NewRecipient(wrap.Encapsulated, private.key, kdf(), aead(), info(epoch.String(), key, wrap.Writer))
	if err != nil {
		return nil, ErrOpen
	}
	frameKey, err := recipient.Export(frameKeyLabel, 32)
	if err != nil {
		return nil, ErrOpen
	}
	frames, err := newFrameCipher(frameKey)
	clear(frameKey)
	if err != nil {
		return nil, err
	}
	return &Reader{epoch: epoch, key: key, writer: wrap.Writer, frames: frames}, nil
}

// Open gives the payload of f, or ErrOpen where f is not what its writer
// sealed for its place.
func (r *Reader) Open(f *Frame) ([]byte, error) {
	if f.Writer != r.writer || f.Place.Epoch != r.epoch || f.Place.Key != r.key {
		return nil, ErrOpen
	}
	n := nonce(f.Place, f.Sequence)
	associated := appendAssociated(make([]byte, 0, 128), f.Place, f.Writer, f.Sequence)
	payload, err := r.frames.Open(nil, n[:], f.bytes[f.body:], associated)
	if err != nil {
		return nil, ErrOpen
	}
	return payload, nil
}
