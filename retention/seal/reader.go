package seal

import (
	"bytes"
	"crypto/hpke"
	"fmt"

	"mayfly/retention"
	"mayfly/retention/secret"
)

// PrivateKey opens the wraps of one epoch key.
type PrivateKey struct{ key hpke.PrivateKey }

// GenerateKey makes an epoch's key pair; the first result is the public key's bytes.
func GenerateKey() (public []byte, private PrivateKey, err error) {
	secret.Do(func() {
		if private.key, err = kem().GenerateKey(); err == nil {
			public = private.key.PublicKey().Bytes()
		}
	})
	if err != nil {
		return nil, PrivateKey{}, fmt.Errorf("generating an epoch key: %w", err)
	}
	return bytes.Clone(public), private, nil
}

// ParsePrivateKey reads what Bytes wrote.
func ParsePrivateKey(b []byte) (private PrivateKey, err error) {
	secret.Do(func() { private.key, err = kem().NewPrivateKey(b) })
	if err != nil {
		return PrivateKey{}, fmt.Errorf("reading an epoch's private key: %w", err)
	}
	return private, nil
}

// Bytes is the private key itself, to be wrapped by the key-encryption key. It
// is erased once it is dropped.
func (p PrivateKey) Bytes() (seed []byte, err error) {
	secret.Do(func() { seed, err = p.key.Bytes() })
	return seed, err
}

// String hides the key.
func (p PrivateKey) String() string { return "[private key]" }

// GoString hides the key.
func (p PrivateKey) GoString() string { return "[private key]" }

// Reader opens the frames of one writer.
type Reader struct {
	epoch  retention.Epoch
	key    KeyID
	writer WriterID
	frames frameCipher
}

// NewReader recovers a writer's frame key from its wrap.
func NewReader(epoch retention.Epoch, key KeyID, private PrivateKey, wrap Wrap) (*Reader, error) {
	r := &Reader{epoch: epoch, key: key, writer: wrap.Writer}
	var err error
	secret.Do(func() { r.frames, err = openWrap(epoch, key, private, wrap) })
	if err != nil {
		return nil, err
	}
	return r, nil
}

func openWrap(epoch retention.Epoch, key KeyID, private PrivateKey, wrap Wrap) (frameCipher, error) {
	recipient, err := hpke.NewRecipient(wrap.Encapsulated, private.key, kdf(), aead(), info(epoch.String(), key, wrap.Writer))
	if err != nil {
		return frameCipher{}, ErrOpen
	}
	frameKey, err := recipient.Export(frameKeyLabel, 32)
	if err != nil {
		return frameCipher{}, ErrOpen
	}
	defer clear(frameKey)
	return newFrameCipher(frameKey)
}

// Open gives the payload of f, or ErrOpen where f is not what its writer
// sealed for its place.
func (r *Reader) Open(f *Frame) ([]byte, error) {
	return r.Append(make([]byte, 0, f.Length()), f)
}

// Append is Open for who opens many: it appends the payload to dst, which has room
// for f.Length() bytes more. What it writes is for the caller to erase.
func (r *Reader) Append(dst []byte, f *Frame) ([]byte, error) {
	if f.Writer != r.writer || f.Place.Epoch != r.epoch || f.Place.Key != r.key {
		return nil, ErrOpen
	}
	n := nonce(f.Place, f.Sequence)
	associated := appendAssociated(make([]byte, 0, 128), f.Place, f.Writer, f.Sequence)
	return r.frames.open(dst, n[:], f.bytes[f.body:], associated)
}
