package keyring

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// KEKFile is a KEK whose state lies in a file on tmpfs, overwritten in place at
// each advance. Several processes of one host may share the file: every one
// advances it by the clock, and the furthest state wins.
//
// The file is one line of fixed length: version, slot, key, and the first 16 hex
// digits of the SHA-256 of what precedes them, so that damage is seen.
type KEKFile struct {
	*chain
	path string
}

const kekVersion = "mayfly-kek-v1"

// GenerateKEK writes a new random state for the present second, readable by its
// owner only. An existing file is never replaced.
func GenerateKEK(path string, now time.Time) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: its keys may still be needed, so it is not replaced", path)
	}
	if err != nil {
		return fmt.Errorf("creating the key-encryption key: %w", err)
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return fmt.Errorf("drawing the key-encryption key: %w", err)
	}
	if err := errors.Join(writeState(file, slotAt(now), key), file.Close()); err != nil {
		return fmt.Errorf("writing the key-encryption key: %w", err)
	}
	return nil
}

// OpenKEK reads the state and advances it to now. A file that others can read
// is refused.
func OpenKEK(path string, now time.Time) (*KEKFile, error) {
	k := &KEKFile{path: path}
	err := k.locked(func(file *os.File) error {
		slot, key, err := readState(file)
		if err == nil {
			k.chain = newChain(slot, key)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keyring.kek_file: %s does not exist: make it with mayfly keygen", path)
	}
	if err != nil {
		return nil, fmt.Errorf("keyring.kek_file: %w", err)
	}
	return k, k.Advance(now)
}

// Advance implements KEK: the file first, then this process's memory.
func (k *KEKFile) Advance(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	slot := slotAt(now)
	if slot <= k.slot {
		return nil
	}
	err := k.locked(func(file *os.File) error {
		inFile, _, err := readState(file)
		if err != nil {
			return err
		}
		if slot-k.slot > maxSteps {
			// Everything that this key ever wrapped is past its deadline.
			k.chain.key = make([]byte, 32)
			if _, err := rand.Read(k.chain.key); err != nil {
				return err
			}
			k.chain.slot = slot
			clear(k.derived)
		}
		if err := k.advance(slot); err != nil {
			return err
		}
		if inFile >= slot {
			return nil
		}
		return writeState(file, slot, k.key)
	})
	if err != nil {
		return fmt.Errorf("advancing the key-encryption key: %w", err)
	}
	return nil
}

// locked opens the file under an exclusive lock that other processes respect.
func (k *KEKFile) locked(do func(*os.File) error) error {
	file, err := os.OpenFile(k.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %v): chmod 600 it, and make a new one if it was", k.path, info.Mode().Perm())
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("locking: %w", err)
	}
	return do(file)
}

func stateLine(slot int64, key []byte) string {
	line := fmt.Sprintf("%s %019d %x ", kekVersion, slot, key)
	sum := sha256.Sum256([]byte(line))
	return line + hex.EncodeToString(sum[:8]) + "\n"
}

// writeState overwrites the state in place: no older state stays beside it.
func writeState(file *os.File, slot int64, key []byte) error {
	if _, err := file.WriteAt([]byte(stateLine(slot, key)), 0); err != nil {
		return err
	}
	return file.Sync()
}

func readState(file *os.File) (slot int64, key []byte, err error) {
	line := make([]byte, len(stateLine(0, make([]byte, 32)))+1)
	n, _ := file.ReadAt(line, 0)
	var digits string
	damaged := fmt.Errorf("%s is damaged or no key-encryption key", file.Name())
	if _, err := fmt.Sscanf(string(line[:n]), kekVersion+" %d %s", &slot, &digits); err != nil {
		return 0, nil, damaged
	}
	if key, err = hex.DecodeString(digits); err != nil || len(key) != 32 || stateLine(slot, key) != string(line[:n]) {
		return 0, nil, damaged
	}
	return slot, key, nil
}
