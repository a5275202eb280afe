package receipts

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Identity is who signs: a log, or a roster of logs. The origin of a log is the
// name of its key.
type Identity struct {
	Signer   note.Signer
	Verifier string // the verifier key, for auditors
}

// LoadIdentity reads a signing key. A file that others can read is refused.
func LoadIdentity(path string) (*Identity, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening a signing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %v): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a signing key: %w", err)
	}
	secret, verifier, _ := strings.Cut(strings.TrimSuffix(string(text), "\n"), "\n")
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged or no signing key", path)
	}
	if v, err := note.NewVerifier(verifier); err != nil || v.Name() != signer.Name() || v.KeyHash() != signer.KeyHash() {
		return nil, fmt.Errorf("%s is damaged: its two keys don't belong together", path)
	}
	return &Identity{signer, verifier}, nil
}

// generateIdentity draws a key pair and gives the text of its file: the secret
// key, and the verifier key, since the one is not told from the other.
func generateIdentity(origin string) (*Identity, []byte, error) {
	secret, verifier, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, nil, fmt.Errorf("drawing a signing key: %w", err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, nil, fmt.Errorf("drawing a signing key: %w", err)
	}
	return &Identity{signer, verifier}, []byte(secret + "\n" + verifier + "\n"), nil
}

// OpenIdentity loads the signing key at path, or makes one whose name begins with
// prefix; its verifier key lies beside it, as path.pub.
func OpenIdentity(path, prefix string) (*Identity, error) {
	id, err := LoadIdentity(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	id, text, err := generateIdentity(newOrigin(prefix))
	if err != nil {
		return nil, err
	}
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if err := writeDurably(dir, name+".pub", []byte(id.Verifier+"\n")); err != nil {
		return nil, err
	}
	return id, writeDurably(dir, name, text)
}

// newOrigin is a name that no other log has: prefix/host/random.
func newOrigin(prefix string) string {
	host, _ := os.Hostname()
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return -1
	}, host)
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails
	return strings.Join([]string{prefix, cmp.Or(host, "host"), hex.EncodeToString(random)}, "/")
}
