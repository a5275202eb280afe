package keyring

import (
	"bytes"
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
	path    string
	written int64 // the slot that the file is known to have reached
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
			k.chain, k.written = newChain(slot, key), slot
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

// Advance implements KEK: this process's memory first, which nothing can hold up,
// then the file.
func (k *KEKFile) Advance(now time.Time) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	slot := slotAt(now)
	if slot <= k.written {
		return nil
	}
	before, known := k.slot, append([]byte(nil), k.key...)
	defer clear(known)
	far := slot-k.slot > maxSteps // everything that this key ever wrapped is past its deadline
	if err := k.forward(slot, far); err != nil {
		return fmt.Errorf("advancing the key-encryption key: %w", err)
	}
	err := k.locked(func(file *os.File) error { return k.write(file, before, known, far) })
	if err != nil {
		return fmt.Errorf("advancing the key-encryption key: %w", err)
	}
	k.written = k.slot
	return nil
}

// forward moves the memory to slot; where that is too far to walk, to a new key.
func (k *KEKFile) forward(slot int64, far bool) error {
	if !far {
		return k.advance(slot)
	}
	clear(k.key)
	for _, key := range k.derived {
		clear(key)
	}
	k.slot, k.key, k.derived = slot, make([]byte, 32), map[int64][]byte{}
	_, err := rand.Read(k.key)
	return err
}

// write brings the file to the memory's state, or takes over what another process
// has written there. A file of another key is left alone.
func (k *KEKFile) write(file *os.File, before int64, known []byte, far bool) error {
	slot, key, err := readState(file)
	if err != nil {
		return err
	}
	switch {
	case slot >= k.slot && far:
		k.slot, k.key = slot, key // another process jumped, too: the file's key is everybody's
		return nil
	case slot >= k.slot:
		if mine, err := k.at(slot); err != nil || !bytes.Equal(mine, key) {
			return errOtherKey
		}
		return nil
	case slot <= before:
		walked := newChain(slot, key)
		if reached, err := walked.at(before); err != nil || !bytes.Equal(reached, known) {
			return errOtherKey
		}
	default: // between our last state and the present one
		walked := newChain(slot, key)
		if reached, err := walked.at(k.slot); !far && (err != nil || !bytes.Equal(reached, k.key)) {
			return errOtherKey
		}
	}
	return writeState(file, k.slot, k.key)
}

var errOtherKey = errors.New("the file holds another key than this process: was it made anew? restart all that use it")

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
