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
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mayfly/retention/secret"
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
	secret.Do(func() {
		key := make([]byte, keyLength)
		if _, err = rand.Read(key); err == nil {
			err = writeState(file, slotAt(now), key)
		}
	})
	if err := errors.Join(err, file.Close()); err != nil {
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
func (k *KEKFile) Advance(now time.Time) (err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slot := slotAt(now); slot > k.written {
		secret.Do(func() { err = k.advanceAll(slot) })
	}
	if err != nil {
		return fmt.Errorf("advancing the key-encryption key: %w", err)
	}
	return nil
}

func (k *KEKFile) advanceAll(slot int64) error {
	before, known := k.slot, bytes.Clone(k.key)
	defer clear(known)
	far := slot-k.slot > maxSteps // everything that this key ever wrapped is past its deadline
	if err := k.forward(slot, far); err != nil {
		return err
	}
	if err := k.locked(func(file *os.File) error { return k.write(file, before, known, far) }); err != nil {
		return err
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
	k.slot, k.derived = slot, map[int64][]byte{}
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
		k.slot = slot // another process jumped, too: the file's key is everybody's
		copy(k.key, key)
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
	secret.Do(func() { err = do(file) })
	return err
}

// stateLine is the file's content. It is put together by hand: fmt keeps what it
// has formatted in a pool.
func stateLine(slot int64, key []byte) []byte {
	line := make([]byte, 0, stateLength)
	line = append(line, kekVersion...)
	line = append(line, ' ')
	line = append(line, fmt.Sprintf("%0*d", slotDigits, slot)...)
	line = append(line, ' ')
	line = hex.AppendEncode(line, key)
	line = append(line, ' ')
	sum := sha256.Sum256(line)
	line = hex.AppendEncode(line, sum[:8])
	return append(line, '\n')
}

const (
	slotDigits  = 19
	keyAt       = len(kekVersion) + 1 + slotDigits + 1
	stateLength = keyAt + 2*keyLength + 1 + 2*8 + 1
)

// writeState overwrites the state in place: no older state stays beside it.
func writeState(file *os.File, slot int64, key []byte) error {
	line := stateLine(slot, key)
	defer clear(line)
	if _, err := file.WriteAt(line, 0); err != nil {
		return err
	}
	return file.Sync()
}

func readState(file *os.File) (slot int64, key []byte, err error) {
	line := make([]byte, stateLength+1)
	defer clear(line)
	n, _ := file.ReadAt(line, 0)
	damaged := fmt.Errorf("%s is damaged or no key-encryption key", file.Name())
	if n != stateLength {
		return 0, nil, damaged
	}
	key = make([]byte, keyLength)
	slot, err = strconv.ParseInt(string(line[keyAt-1-slotDigits:keyAt-1]), 10, 64)
	if err != nil {
		return 0, nil, damaged
	}
	if _, err := hex.Decode(key, line[keyAt:keyAt+2*keyLength]); err != nil {
		return 0, nil, damaged
	}
	if again := stateLine(slot, key); !bytes.Equal(again, line[:n]) {
		return 0, nil, damaged
	}
	return slot, key, nil
}
