package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"

	"mayfly/retention/secret"
)

// frameCipher seals and opens under one frame key. Its key schedule is made
// inside secret.Do, and what it passes through registers and stack is erased.
type frameCipher struct{ aead cipher.AEAD }

// newFrameCipher runs inside secret.Do, where the caller derived the key.
func newFrameCipher(key []byte) (frameCipher, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return frameCipher{}, fmt.Errorf("making the frame cipher: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	return frameCipher{aead}, err
}

// seal appends to dst, which has room: what is allocated inside Do is erased
// later, and frames need not be.
func (c frameCipher) seal(dst, nonce, payload, associated []byte) (sealed []byte) {
	secret.Do(func() { sealed = c.aead.Seal(dst, nonce, payload, associated) })
	return sealed
}

// open is the reverse of seal.
func (c frameCipher) open(dst, nonce, sealed, associated []byte) (payload []byte, err error) {
	secret.Do(func() { payload, err = c.aead.Open(dst, nonce, sealed, associated) })
	if err != nil {
		return nil, ErrOpen
	}
	return payload, nil
}
