package keyring

import (
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
)

// KEK is the forward-secure key-encryption key: what it wrapped for a deadline
// can't be unwrapped after Advance has passed it, by anybody.
type KEK interface {
	// Wrap encrypts secret for the given deadline, bound to associated.
	Wrap(deadline time.Time, secret, associated []byte) ([]byte, error)
	// Unwrap reverses Wrap; ErrDestroyed where the deadline has been passed.
	Unwrap(deadline time.Time, wrapped, associated []byte) ([]byte, error)
	// Advance destroys what could unwrap anything whose deadline is at or before now.
	Advance(now time.Time) error
}

// chain is the sequence K(i+1) = HKDF-Expand(K(i), "next"), one key per second
// of Unix time. A deadline at second d is wrapped under slot d − 1, so that the
// state at time d no longer derives it.
type chain struct {
	mu      sync.Mutex
	slot    int64
	key     []byte
	derived map[int64][]byte // keys of later slots that were asked for, so that nobody walks twice
}

// maxSteps bounds a walk along the chain: no window is longer.
const maxSteps = int64(32 * 24 * time.Hour / time.Second)

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
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("drawing the key-encryption key: %w", err)
	}
	return newChain(slotAt(now), key), nil
}

// Advance implements KEK.
func (c *chain) Advance(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.advance(slotAt(now))
}

func next(key []byte) []byte {
	following, err := hkdf.Expand(sha256.New, key, "mayfly kek next v1", len(key))
	if err != nil {
		panic("hkdf: " + err.Error()) // only a length out of range fails
	}
	return following
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
	nearest, key := c.slot, c.key
	for s, k := range c.derived {
		if s > nearest && s < slot {
			nearest, key = s, k
		}
	}
	for ; nearest < slot; nearest++ {
		key = next(key)
	}
	c.derived[slot] = append([]byte(nil), key...)
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
	key = append([]byte(nil), key...)
	clear(c.key)
	c.key, c.slot = key, slot
	for s, k := range c.derived {
		if s < slot {
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
	wrapping, err := hkdf.Expand(sha256.New, key, "mayfly kek wrap v1", 32)
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
func (c *chain) Wrap(deadline time.Time, secret, associated []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	aead, err := c.cipher(deadline)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, secret, associated), nil
}

// Unwrap implements KEK.
func (c *chain) Unwrap(deadline time.Time, wrapped, associated []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	aead, err := c.cipher(deadline)
	if err != nil {
		return nil, err
	}
	secret, err := aead.Open(nil, nil, wrapped, associated)
	if err != nil {
		return nil, fmt.Errorf("unwrapping an epoch key: %w (another keyring.kek_file than the one that wrapped it?)", seal.ErrOpen)
	}
	return secret, nil
}
