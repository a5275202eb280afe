package receipts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// The folder of a log. In it tiles.Dir alone is for other eyes: the desk serves
// it, and auditors get a copy of it. The signing key is never in that.
const (
	KeyFile     = "receipts.key"
	PubFile     = "receipts.pub"
	journalFile = "journal"
)

// writeDurably replaces a file as a whole; when it returns nil the content and the
// name survive a power cut.
func writeDurably(dir, name string, data []byte) error {
	if err := replace(dir, name, data, true); err != nil {
		return err
	}
	return syncFolder(dir)
}

// replace puts a new file in place of what has the name. A reader sees the old
// content or the new, and with sync also after a power cut.
func replace(dir, name string, data []byte, sync bool) error {
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("creating %s of the receipt log: %w", name, err)
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s of the receipt log: %w", name, err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("replacing %s of the receipt log: %w", name, err)
	}
	return nil
}

// syncFolder makes the names in a folder durable.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening a folder of the receipt log: %w", err)
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing a folder of the receipt log: %w", errors.Join(err, d.Close()))
	}
	return d.Close()
}

// lockFolder keeps other processes out until the file it returns is closed.
func lockFolder(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the receipts folder: %w", err)
	}
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the receipts folder (another process holds it: each needs its own): %w", err), d.Close())
	}
	return d, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
