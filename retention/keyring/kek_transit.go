package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"mayfly/retention/secret"
)

// TransitKEK is a KEK in the transit engine of Vault or OpenBao: a version of one
// transit key for each slot of time in which deadlines fall. Wrap asks for the
// version of its deadline's slot, so that policies of any window share the key;
// Advance trims every version whose slot has come, which no one can undo.
//
// Version v belongs to slot anchor + v. The anchor is the second in which a
// second transit key, "<key>-anchor", was created: it is never rotated, and tells
// every process the same. What the engine's own storage and its backups keep of
// trimmed versions is sealed by the engine's barrier, and its operator's to end.
type TransitKEK struct {
	config TransitConfig
	client *transitClient
	slot   int64 // seconds

	mu      sync.Mutex // guards what follows: one rotation at a time
	anchor  int64
	latest  int64
	trimmed int64
}

// transitVersions bounds how many slots a deadline may be ahead: the engine keeps
// all living versions in one entry of its storage.
const transitVersions = 2000

// OpenTransit finds or creates the key and its anchor.
func OpenTransit(config TransitConfig, now time.Time) (*TransitKEK, error) {
	client, err := newTransitClient(config)
	if err != nil {
		return nil, fmt.Errorf("keyring.transit: %w", err)
	}
	k := &TransitKEK{config: config, client: client, slot: int64(config.Slot / time.Second)}
	anchor, err := k.find(config.Key + "-anchor")
	if err != nil {
		return nil, fmt.Errorf("keyring.transit: finding the anchor: %w", err)
	}
	created, there := anchor.Keys["1"]
	if !there {
		return nil, errors.New("keyring.transit: the anchor key was rotated or trimmed: its first version says which version is whose")
	}
	k.anchor = created/k.slot - 1
	if _, err := k.find(config.Key); err != nil {
		return nil, fmt.Errorf("keyring.transit: finding the key: %w", err)
	}
	return k, k.Advance(now)
}

// find reads a key of the engine, and creates it where there is none.
func (k *TransitKEK) find(name string) (transitKey, error) {
	key, err := k.client.read(name)
	if errors.Is(err, errNoTransitKey) {
		if err := k.client.post("keys/"+name, `{"type":"aes256-gcm96"}`); err != nil {
			return transitKey{}, err
		}
		key, err = k.client.read(name)
	}
	return key, err
}

// version is of the slot that ends with deadline.
func (k *TransitKEK) version(deadline time.Time) (int64, error) {
	ms := deadline.UnixMilli()
	if ms%(k.slot*1000) != 0 {
		return 0, fmt.Errorf("keyring.transit.slot: windows and epochs of the policies must be whole multiples of %v", k.config.Slot)
	}
	return ms/1000/k.slot - k.anchor, nil
}

// due is the least version whose deadlines have not all come.
func (k *TransitKEK) due(now time.Time) int64 { return now.Unix()/k.slot - k.anchor + 1 }

// Wrap implements KEK.
func (k *TransitKEK) Wrap(deadline time.Time, secretKey, associated []byte) ([]byte, error) {
	version, err := k.version(deadline)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case version < k.trimmed:
		return nil, ErrDestroyed
	case version-k.trimmed > transitVersions:
		return nil, errTooFar
	}
	if err := k.rotate(version); err != nil {
		return nil, err
	}
	var wrapped []byte
	secret.Do(func() {
		var sealed []byte
		sealed, err = k.client.crypt("encrypt", "plaintext", base64.StdEncoding.AppendEncode(nil, secretKey), "ciphertext",
			associated, `,"key_version":`+strconv.FormatInt(version, 10))
		wrapped = sealed
	})
	if err != nil {
		return nil, fmt.Errorf("wrapping by transit: %w", err)
	}
	if !bytes.HasPrefix(wrapped, fmt.Appendf(nil, "vault:v%d:", version)) {
		return nil, errors.New("wrapping by transit: it was wrapped by another version than asked for")
	}
	return bytes.Clone(wrapped), nil // not to be erased
}

// Unwrap implements KEK.
func (k *TransitKEK) Unwrap(deadline time.Time, wrapped, associated []byte) (secretKey []byte, err error) {
	version, err := k.version(deadline)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	trimmed := k.trimmed
	k.mu.Unlock()
	if version < trimmed {
		return nil, ErrDestroyed
	}
	if !isCiphertext(wrapped) {
		return nil, errUnwrap
	}
	secret.Do(func() {
		var encoded []byte
		if encoded, err = k.client.crypt("decrypt", "ciphertext", wrapped, "plaintext", associated, ""); err == nil {
			secretKey, err = base64.StdEncoding.AppendDecode(nil, encoded)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("unwrapping by transit: %w", err)
	}
	return secretKey, nil
}

// isCiphertext: only what needs no escaping goes into a request.
func isCiphertext(b []byte) bool {
	return len(b) < 8192 && bytes.HasPrefix(b, []byte("vault:v")) &&
		strings.Trim(string(b), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=:") == ""
}

// Advance implements KEK. It returns nil only once the engine says that what is
// due is trimmed.
func (k *TransitKEK) Advance(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := k.due(now)
	if due <= max(k.trimmed, 1) {
		return nil
	}
	if err := k.trim(due); err != nil {
		return fmt.Errorf("trimming the transit key: %w", err)
	}
	k.trimmed = due
	return nil
}

func (k *TransitKEK) trim(due int64) error {
	key, err := k.client.read(k.config.Key)
	if err != nil || key.Available >= due {
		return err // another process has trimmed it
	}
	k.latest = key.Latest
	if err := k.rotate(due); err != nil {
		return err
	}
	bound := strconv.FormatInt(due, 10)
	err = k.client.post("keys/"+k.config.Key+"/config", `{"min_decryption_version":`+bound+`,"min_encryption_version":`+bound+`}`)
	if err != nil {
		return err
	}
	if err := k.client.post("keys/"+k.config.Key+"/trim", `{"min_available_version":`+bound+`}`); err != nil {
		return err
	}
	if key, err = k.client.read(k.config.Key); err == nil && key.Available < due {
		err = errors.New("the engine accepted it, and still has what is due")
	}
	return err
}

// rotateFor bounds one catching up, after which the next second goes on.
const rotateFor = 10 * time.Second

// rotate brings the key to a version; two processes may take it further, which
// makes versions of later slots.
func (k *TransitKEK) rotate(version int64) error {
	if k.latest >= version {
		return nil
	}
	key, err := k.client.read(k.config.Key)
	if err != nil {
		return err
	}
	began := time.Now()
	for k.latest = key.Latest; k.latest < version; k.latest++ {
		if time.Since(began) > rotateFor {
			return fmt.Errorf("%d rotations are still to come", version-k.latest)
		}
		if err := k.client.post("keys/"+k.config.Key+"/rotate", `{}`); err != nil {
			return err
		}
	}
	return nil
}
