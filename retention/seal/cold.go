package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"mayfly/retention/secret"
)

// Cold is what seals and opens the generations that a compactor makes of an epoch
// key's frames. Its secret comes from the epoch's private key and dies with it:
// who may compact may read.
type Cold struct{ secret []byte }

// coldLabel is the HKDF context (RFC 5869) of the secret.
const coldLabel = "mayfly cold v1"

// Cold derives the secret of the cold tier.
func (p PrivateKey) Cold() (*Cold, error) {
	c := &Cold{}
	var err error
	secret.Do(func() {
		var exported []byte
		if exported, err = p.key.Bytes(); err == nil {
			c.secret, err = hkdf.Key(sha256.New, exported, nil, coldLabel, 32)
			clear(exported)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("deriving the key of the cold tier: %w", err)
	}
	return c, nil
}

// String hides the secret.
func (*Cold) String() string { return "[cold key]" }

// GoString hides the secret.
func (*Cold) GoString() string { return "[cold key]" }

// Generation seals and opens the parts of one generation of a place: part 0 is its
// head, the others are its blocks.
//
// Each generation has a key of its own, drawn by its salt, which stands in front of the
// head: two compactors that both take themselves for the maker of one generation
// share no nonce, and no part of one fits the other. Policy, epoch, key, view, shard,
// generation and part are associated data. The bytes of a part: version (1), of the
// head the salt (16), ciphertext, tag (16).
type Generation struct {
	place  Place
	number uint64
	salt   [16]byte
	parts  frameCipher
}

const (
	coldVersion = 1
	headSalt    = 16
	// ColdOverhead is how many bytes a sealed block is longer than its payload.
	ColdOverhead = 1 + tagLength
)

// Generation makes a generation that is to be sealed. Each part may be sealed once.
func (c *Cold) Generation(place Place, number uint64) (*Generation, error) {
	g := &Generation{place: place, number: number}
	if _, err := rand.Read(g.salt[:]); err != nil {
		return nil, fmt.Errorf("drawing a salt: %w", err)
	}
	return g, g.derive(c)
}

// OpenGeneration gives the generation whose head this is, and the head's payload.
func (c *Cold) OpenGeneration(place Place, number uint64, head []byte) (*Generation, []byte, error) {
	if len(head) < 1+headSalt+tagLength || head[0] != coldVersion {
		return nil, nil, ErrOpen
	}
	g := &Generation{place: place, number: number, salt: [16]byte(head[1:])}
	if err := g.derive(c); err != nil {
		return nil, nil, err
	}
	payload, err := g.open(make([]byte, 0, len(head)), 0, head[1+headSalt:])
	if err != nil {
		return nil, nil, err
	}
	return g, payload, nil
}

func (g *Generation) derive(c *Cold) (err error) {
	secret.Do(func() {
		var derived []byte
		if derived, err = hkdf.Key(sha256.New, c.secret, g.salt[:], "generation", 32); err == nil {
			g.parts, err = newFrameCipher(derived)
			clear(derived)
		}
	})
	if err != nil {
		return fmt.Errorf("deriving the key of a generation: %w", err)
	}
	return nil
}

// Seal seals a part.
func (g *Generation) Seal(part uint32, payload []byte) []byte {
	sealed := make([]byte, 0, 1+headSalt+len(payload)+tagLength)
	sealed = append(sealed, coldVersion)
	if part == 0 {
		sealed = append(sealed, g.salt[:]...)
	}
	n := g.nonce(part)
	return g.parts.seal(sealed, n[:], payload, g.associated(part))
}

// Open gives the payload of a block, or ErrOpen.
func (g *Generation) Open(part uint32, sealed []byte) ([]byte, error) {
	return g.Append(make([]byte, 0, len(sealed)), part, sealed)
}

// Append is Open for who opens many: it appends the payload to dst, which has room
// for as many bytes as sealed has. What it writes is for the caller to erase.
func (g *Generation) Append(dst []byte, part uint32, sealed []byte) ([]byte, error) {
	if part == 0 || len(sealed) < ColdOverhead || sealed[0] != coldVersion {
		return nil, ErrOpen
	}
	return g.open(dst, part, sealed[1:])
}

func (g *Generation) open(dst []byte, part uint32, ciphertext []byte) ([]byte, error) {
	n := g.nonce(part)
	return g.parts.open(dst, n[:], ciphertext, g.associated(part))
}

func (g *Generation) nonce(part uint32) (n [12]byte) {
	binary.BigEndian.PutUint32(n[8:], part)
	return n
}

func (g *Generation) associated(part uint32) []byte {
	b := append(make([]byte, 0, 128), "mayfly cold v1\x00"...)
	b = appendPlace(b, g.place)
	b = binary.BigEndian.AppendUint64(b, g.number)
	return binary.BigEndian.AppendUint32(b, part)
}
