// Package receipts keeps the record of every look: no subject is looked up
// without an entry that says for which case and why, and how much was found.
// The desk appends before it answers; when Append fails there is no answer.
//
// Entries are permanent while everything else in Mayfly expires. So none can
// hold an address, a hash of one, an account or free text: an entry has typed
// fields only, and Append refuses a case or subject kind that could carry more.
//
// This log is a file of JSON lines, numbered without gaps. Any package may
// import this one.
package receipts

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// FileName is the log's file in its folder.
const FileName = "lookups.jsonl"

// ErrClosed is returned by Append after Close.
var ErrClosed = errors.New("the receipt log is closed")

// Log is an append-only log of look-ups in one folder. One process at a time
// holds it; its methods may be called concurrently.
type Log struct {
	// mu orders entries: a sequence number is given, written and made durable
	// under it, so numbers in the file have no gap and no entry is half written
	// when the next one starts.
	mu   sync.Mutex
	file file // nil once closed
	seq  uint64
	size int64 // where the last good entry ends
	torn bool  // bytes beyond size may be in the file: cut them off first
}

// file is what a Log needs of *os.File.
type file interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

// entry is one line of the file.
type entry struct {
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	ID   string    `json:"id"`
	Type string    `json:"type"`
	Lookup
}

// Open opens the log in dir, creating both where they are missing. A last line
// that a crash tore is cut off: no look-up was answered on it.
func Open(dir string) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the receipts folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, FileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the receipt log: %w", err)
	}
	l, err := load(f)
	if err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// load locks f, reads it through and cuts a torn end off.
func load(f *os.File) (*Log, error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("locking the receipt log (another process holds it): %w", err)
	}
	seq, size, err := scan(f)
	if err != nil {
		return nil, fmt.Errorf("reading the receipt log: %w", err)
	}
	l := &Log{file: f, seq: seq, size: size, torn: true}
	if err := l.mend(); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("syncing the receipt log: %w", err)
	}
	return l, nil
}

// Append writes one entry. When it returns nil the entry is on disk; id names it.
func (l *Log) Append(ctx context.Context, lookup Lookup) (id string, err error) {
	if err := lookup.check(); err != nil {
		return "", err
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return "", ErrClosed
	}
	e := entry{Seq: l.seq + 1, Time: time.Now().UTC(), ID: rand.Text(), Type: "lookup", Lookup: lookup}
	line, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encoding a receipt: %w", err)
	}
	if err := l.write(append(line, '\n')); err != nil {
		return "", err
	}
	l.seq = e.Seq
	return e.ID, nil
}

// write makes line durable at the end of the log. After a fault the entry
// counts as not written, and whatever reached the file is cut off first.
func (l *Log) write(line []byte) error {
	if err := l.mend(); err != nil {
		return err
	}
	l.torn = true
	if _, err := l.file.WriteAt(line, l.size); err != nil {
		return fmt.Errorf("writing a receipt: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("syncing a receipt: %w", err)
	}
	l.torn = false
	l.size += int64(len(line))
	return nil
}

func (l *Log) mend() error {
	if !l.torn {
		return nil
	}
	if err := l.file.Truncate(l.size); err != nil {
		return fmt.Errorf("cutting a torn receipt off: %w", err)
	}
	l.torn = false
	return nil
}

// Close lets another process open the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

// scan gives the last sequence number and where the last good line ends. A last
// line that is cut short or is no entry at all was torn by a crash; any other
// flaw means that somebody changed the file.
func scan(r io.Reader) (seq uint64, size int64, err error) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return seq, size, nil
		}
		if err != nil {
			return 0, 0, err
		}
		var e entry
		if json.Unmarshal(line, &e) != nil {
			if _, err := lines.Peek(1); errors.Is(err, io.EOF) {
				return seq, size, nil
			}
		}
		if e.Seq != seq+1 {
			return 0, 0, fmt.Errorf("line %d is not the entry it should be: the file was changed", seq+1)
		}
		seq, size = e.Seq, size+int64(len(line))
	}
}

// syncFolder makes the file's name durable too.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening the receipts folder: %w", err)
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the receipts folder: %w", errors.Join(err, d.Close()))
	}
	return d.Close()
}
