// Package seal turns the payloads of an epoch into frames that only the
// holders of the epoch's private key can open (HPKE, RFC 9180).
//
// Each writer encapsulates once per epoch key and derives one frame key from
// it; it keeps that key only while it writes, and holds nothing with which to
// read back. The private key dies at the epoch's deadline, and with it every
// copy of every frame, wherever it lies.
//
// Keys are handled inside secret.Do alone: a PrivateKey, a Reader and a Writer
// are erased when they are dropped and collected (retention/secret).
//
// The key encapsulation is the hybrid of ML-KEM-768 and X25519: a copy of
// the frames that is kept for decades must not open to a quantum computer.
package seal

import (
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrOpen says that a frame or a wrap is not what this key sealed for this place.
var ErrOpen = errors.New("sealed bytes do not open")

// KeyID names one key pair of an epoch. An epoch has more than one only after
// keyring nodes had been lost.
type KeyID [8]byte

// String is the id in hex.
func (k KeyID) String() string { return hex.EncodeToString(k[:]) }

// ParseKeyID is the inverse of KeyID.String.
func ParseKeyID(s string) (KeyID, error) {
	var id KeyID
	if n, err := hex.Decode(id[:], []byte(s)); err != nil || n != len(id) || len(s) != 2*len(id) {
		return KeyID{}, fmt.Errorf("key id %q is not %d hex digits", s, 2*len(id))
	}
	return id, nil
}

// WriterID names one encapsulation: a writer's hold on one epoch key.
type WriterID [8]byte

// String is the id in hex.
func (w WriterID) String() string { return hex.EncodeToString(w[:]) }

func kem() hpke.KEM   { return hpke.MLKEM768X25519() }
func kdf() hpke.KDF   { return hpke.HKDFSHA256() }
func aead() hpke.AEAD { return hpke.ExportOnly() }

// frameKeyLabel is the exporter context of the frame key (RFC 9180 § 5.3).
const frameKeyLabel = "mayfly frame key v1"

// info binds an encapsulation to its epoch, key and writer.
func info(epoch string, key KeyID, writer WriterID) []byte {
	b := append([]byte("mayfly epoch v1\x00"), epoch...)
	b = append(b, 0)
	b = append(b, key[:]...)
	return append(b, writer[:]...)
}
