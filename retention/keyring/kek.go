package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"mayfly/retention/seal"
	"mayfly/retention/secret"
)

// KEK is the forward-secure key-encryption key: what it wrapped for a deadline
// can't be unwrapped after Advance has passed it, by anybody.
type KEK interface {
	// Wrap encrypts secret for the given deadline, bound to associated.
	Wrap(deadline time.Time, secret, associated []byte) ([]byte, error)
	// Unwrap reverses Wrap; ErrDestroyed where the deadline has been passed. Its
	// result is erased once it is dropped and collected (retention/secret).
	Unwrap(deadline time.Time, wrapped, associated []byte) ([]byte, error)
	// Advance destroys what could unwrap anything whose deadline is at or before now.
	Advance(now time.Time) error
}

// chain is the sequence K(i+1) = HKDF-Expand(K(i), "next"), one key per second
// of Unix time. A deadline at second d is wrapped under slot d − 1, so that the
// state at time d no longer derives it. Its methods in lower case run inside
// secret.Do.
type chain struct {
	mu      sync.Mutex
	slot    int64
	key     []byte
	derived map[int64][]byte // keys of later slots that were asked for, so that nobody walks twice
}

const (
	// maxSteps bounds a walk along the chain: no window is longer.
	maxSteps = int64(32 * 24 * time.Hour / time.Second)
	// keyLength is that of the chain's keys and of those that wrap.
	keyLength = sha256.Size
	// wrapOverhead is a nonce and a tag.
	wrapOverhead = 12 + 16
)

var errTooFar = errors.New("the deadline is further away than any window: check this machine's clock")

func slotAt(now time.Time) int64 { return floorDiv(now.UnixMilli(), 1000) }

func slotFor(deadline time.Time) int64 { return floorDiv(deadline.UnixMilli()-1, 1000) }

func floorDiv(a, b int64) int64 {
	if a%b < 0 {
		return a/b - 1
	}
	return a / b
}

func newChain(slot int64, key []byte) *chain {
	return &chain{slot: slot, key: key, derived: map[int64][]byte{}}
}

// NewMemoryKEK is a KEK that dies with this process.
func NewMemoryKEK(now time.Time) (KEK, error) {
	var key []byte
	var err error
	secret.Do(func() {
		key = make([]byte, keyLength)
		_, err = rand.Read(key)
	})
	if err != nil {
		return nil, fmt.Errorf("drawing the key-encryption key: %w", err)
	}
	return newChain(slotAt(now), key), nil
}

// Advance implements KEK.
func (c *chain) Advance(now time.Time) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	secret.Do(func() { err = c.advance(slotAt(now)) })
	return err
}

// next replaces a key of the chain by the one that follows: HKDF-Expand of a
// single block (RFC 5869), which is HMAC-SHA256(key, label ‖ 1). Done on the
// stack, because crypto/hkdf leaves states on the heap from which every later
// key follows, and they would be erased only at some later collection.
func next(key *[keyLength]byte) {
	const label = "mayfly kek next v1\x01"
	var inner [sha256.BlockSize + len(label)]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	copy(inner[:], key[:])
	copy(outer[:], key[:])
	for i := range sha256.BlockSize {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	copy(inner[sha256.BlockSize:], label)
	sum := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], sum[:])
	*key = sha256.Sum256(outer[:])
}

// at derives the key of a slot, walking from the nearest one known.
func (c *chain) at(slot int64) ([]byte, error) {
	if slot < c.slot {
		return nil, ErrDestroyed
	}
	if slot-c.slot > maxSteps {
		return nil, errTooFar
	}
	if key := c.derived[slot]; key != nil {
		return key, nil
	}
	nearest, known := c.slot, c.key
	for s, k := range c.derived {
		if s > nearest && s < slot {
			nearest, known = s, k
		}
	}
	key := [keyLength]byte(known)
	for ; nearest < slot; nearest++ {
		next(&key)
	}
	c.derived[slot] = bytes.Clone(key[:])
	return c.derived[slot], nil
}

// advance moves the state to a slot and erases what came before it.
func (c *chain) advance(slot int64) error {
	if slot <= c.slot {
		return nil
	}
	key, err := c.at(slot)
	if err != nil {
		return err
	}
	copy(c.key, key)
	c.slot = slot
	for s, k := range c.derived {
		if s <= slot {
			clear(k)
			delete(c.derived, s)
		}
	}
	return nil
}

func (c *chain) cipher(deadline time.Time) (cipher.AEAD, error) {
	key, err := c.at(slotFor(deadline))
	if err != nil {
		return nil, err
	}
	wrapping, err := hkdf.Expand(sha256.New, key, "mayfly kek wrap v1", keyLength)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(wrapping)
	clear(wrapping)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Wrap implements KEK.
func (c *chain) Wrap(deadline time.Time, secretKey, associated []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wrapped := make([]byte, 0, len(secretKey)+wrapOverhead) // out here: it is not to be erased
	var err error
	secret.Do(func() {
		var aead cipher.AEAD
		if aead, err = c.cipher(deadline); err == nil {
			wrapped = aead.Seal(wrapped, nil, secretKey, associated)
		}
	})
	if err != nil {
		return nil, err
	}
	return wrapped, nil
}

// Unwrap implements KEK.
func (c *chain) Unwrap(deadline time.Time, wrapped, associated []byte) (secretKey []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	secret.Do(func() {
		var aead cipher.AEAD
		if aead, err = c.cipher(deadline); err != nil {
			return
		}
		if secretKey, err = aead.Open(nil, nil, wrapped, associated); err != nil {
			err = errUnwrap
		}
	})
	return secretKey, err
}

var errUnwrap = fmt.Errorf("unwrapping an epoch key: %w (another keyring.kek_file than the one that wrapped it?)", seal.ErrOpen)
