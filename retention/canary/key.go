package canary

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mayfly/retention/address"
	"mayfly/retention/canary/form"
	"mayfly/retention/record"
)

// Connection is what a canary says of itself. It is invented, but it prints as
// nothing: what it looks like is the operator's secret.
type Connection struct {
	Account string
	Address address.Address
	Port    uint16
}

// String is "[canary]".
func (Connection) String() string { return "[canary]" }

// Key draws canaries and recognises them. Half of an account's variable symbols
// is random; the other half, the address and the port follow from it by HMAC
// under the key. So no list of canaries is kept anywhere, and without the key a
// canary is a connection like any other.
type Key struct {
	form form.Form
	tag  []byte
	peer []byte
}

const keyLength = 32

// leastTagBits is how many bits of a canary its tag must fill: an ordinary
// connection passes for one with a chance of 2^-40, and would not be shown.
const leastTagBits = 40

// NewKey takes 32 secret bytes.
func NewKey(secret []byte, f form.Form) (*Key, error) {
	if len(secret) != keyLength {
		return nil, errors.New("a canary key has 32 bytes")
	}
	if bits := f.Accounts.Bits(free(f.Accounts)) + f.Bits(); bits < leastTagBits {
		return nil, fmt.Errorf("canary.account_format, canary.ranges: a canary would be told from a customer by %.0f bits only, of %d: "+
			"give the accounts more variable symbols, or wider ranges", bits, leastTagBits)
	}
	k := &Key{form: f}
	for label, into := range map[string]*[]byte{"mayfly canary tag v1": &k.tag, "mayfly canary peer v1": &k.peer} {
		derived, err := hkdf.Expand(sha256.New, secret, label, keyLength)
		if err != nil {
			return nil, fmt.Errorf("deriving a canary key: %w", err)
		}
		*into = derived
	}
	return k, nil
}

// free is how many variable symbols are random; the others are the tag.
func free(p form.Picture) int { return (p.Holes() + 1) / 2 }

// Draw draws a new canary.
func (k *Key) Draw() (Connection, error) {
	symbols := make([]uint32, k.form.Accounts.Holes())
	if err := binary.Read(rand.Reader, binary.BigEndian, symbols); err != nil {
		return Connection{}, fmt.Errorf("drawing a canary: %w", err)
	}
	chosen, _ := k.form.Accounts.Read(k.form.Accounts.Fill(symbols))
	return k.complete(chosen[:free(k.form.Accounts)]), nil
}

// complete makes the canary of some free symbols.
func (k *Key) complete(chosen []uint32) Connection {
	symbols := append(make([]uint32, 0, k.form.Accounts.Holes()), chosen...)
	seed := make([]byte, 0, 4*len(chosen))
	for _, symbol := range chosen {
		seed = binary.BigEndian.AppendUint32(seed, symbol)
	}
	stream := k.mac("account", seed)
	for i := 0; len(symbols) < cap(symbols); i += 4 {
		if i == len(stream) {
			stream, i = k.mac("more", stream), 0
		}
		symbols = append(symbols, binary.BigEndian.Uint32(stream[i:]))
	}
	c := Connection{Account: k.form.Accounts.Fill(symbols)}
	c.Address, c.Port = k.form.Place([24]byte(k.mac("place", []byte(c.Account))))
	return c
}

func (k *Key) mac(label string, data []byte) []byte {
	h := hmac.New(sha256.New, k.tag)
	h.Write([]byte(label))
	h.Write([]byte{0})
	h.Write(data)
	return h.Sum(nil)
}

// Is reports whether a record is a canary's.
func (k *Key) Is(r *record.Record) bool {
	if !r.Ports.Known || r.Ports.First != r.Ports.Last || !k.form.Contains(r.Address.Reveal()) {
		return false
	}
	symbols, ok := k.form.Accounts.Read(r.Account)
	return ok && k.complete(symbols[:free(k.form.Accounts)]) == Connection{r.Account, r.Address, r.Ports.First}
}

// GenerateKey writes a new canary key, readable by its owner only. An existing
// file is never replaced: its canaries would pass for customers.
func GenerateKey(path string) error {
	secret := make([]byte, keyLength)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("drawing a canary key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: without its key the canaries under way could not be told from customers, so it is not replaced", path)
	}
	if err != nil {
		return fmt.Errorf("creating the canary key: %w", err)
	}
	_, err = file.WriteString(keyPrefix + hex.EncodeToString(secret) + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("writing the canary key: %w", err)
	}
	return nil
}

const keyPrefix = "mayfly-canary-v1 "

// loadSecret reads what GenerateKey wrote. A file that others can read is refused.
func loadSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("canary.key_file: %s does not exist: make it with mayfly keygen --canary, and copy it to every warden and desk", path)
	}
	if err != nil {
		return nil, fmt.Errorf("canary.key_file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("canary.key_file: %s can be read by others (mode %v): chmod 600 it", path, info.Mode().Perm())
	}
	if info.Size() > 1<<10 {
		return nil, fmt.Errorf("canary.key_file: %s is damaged or no canary key", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("canary.key_file: %w", err)
	}
	digits, found := strings.CutPrefix(strings.TrimSpace(string(text)), keyPrefix)
	secret, err := hex.DecodeString(digits)
	if !found || err != nil || len(secret) != keyLength {
		return nil, fmt.Errorf("canary.key_file: %s is damaged or no canary key", path)
	}
	return secret, nil
}
