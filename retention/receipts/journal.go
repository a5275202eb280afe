package receipts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// journal is where entries become durable: one write and one sync for a batch. It
// holds the entries since the last full bundle, so that tiles and checkpoint
// can be made again after a crash.
//
// The file begins with a magic number, the index of its first entry, and a
// checksum of both; then each entry has its length, a checksum and its bytes.
type journal struct {
	file  file
	start int64 // index of the first entry in it
	end   int64 // where the last good entry ends
	torn  bool  // bytes beyond end may be in the file: cut them off first
}

// file is what a journal needs of *os.File.
type file interface {
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
}

const (
	journalMagic  = "mayfly-receipts1"
	journalHeader = len(journalMagic) + 8 + 4
	frameHeader   = 2 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journalText is a journal's whole content.
func journalText(start int64, entries [][]byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte(journalMagic), uint64(start))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	for _, e := range entries {
		b = appendFrame(b, e)
	}
	return b
}

func appendFrame(b, entry []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(entry)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(entry, castagnoli))
	return append(b, entry...)
}

// openJournal reads the journal of dir. What follows its last good entry was torn
// by a crash, and nobody relied on it; the caller knows how many there must be.
func openJournal(dir string) (*journal, [][]byte, error) {
	f, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_RDWR, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the receipts' journal: %w", err)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the receipts' journal: %w", errors.Join(err, f.Close()))
	}
	head := journalHeader - 4
	if len(data) < journalHeader || string(data[:len(journalMagic)]) != journalMagic ||
		binary.BigEndian.Uint32(data[head:]) != crc32.Checksum(data[:head], castagnoli) {
		return nil, nil, errors.Join(errors.New("the receipts' journal was damaged or changed"), f.Close())
	}
	j := &journal{file: f, start: int64(binary.BigEndian.Uint64(data[len(journalMagic):])), torn: true}
	entries, size := frames(data[journalHeader:])
	j.end = int64(journalHeader + size)
	return j, entries, nil
}

// frames gives the good entries at the beginning, and how many bytes they take.
func frames(data []byte) (entries [][]byte, size int) {
	for rest := data; len(rest) > frameHeader; rest = data[size:] {
		n := int(binary.BigEndian.Uint16(rest))
		if n == 0 || len(rest) < frameHeader+n {
			break
		}
		entry := rest[frameHeader : frameHeader+n]
		if crc32.Checksum(entry, castagnoli) != binary.BigEndian.Uint32(rest[2:]) {
			break
		}
		entries = append(entries, entry)
		size += frameHeader + n
	}
	return entries, size
}

// append makes frames durable at the end. After a fault they count as not written,
// and whatever reached the file is cut off first.
func (j *journal) append(frames []byte) error {
	if err := j.mend(); err != nil {
		return err
	}
	j.torn = true
	if _, err := j.file.WriteAt(frames, j.end); err != nil {
		return fmt.Errorf("writing a receipt: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing a receipt: %w", err)
	}
	j.torn = false
	j.end += int64(len(frames))
	return nil
}

func (j *journal) mend() error {
	if !j.torn {
		return nil
	}
	if err := j.file.Truncate(j.end); err != nil {
		return fmt.Errorf("cutting a torn receipt off: %w", err)
	}
	j.torn = false
	return nil
}

// probe writes as much as the largest entry takes, and cuts it off again: zeros,
// which no opening takes for an entry.
func (j *journal) probe() error {
	if err := j.mend(); err != nil {
		return err
	}
	j.torn = true
	if _, err := j.file.WriteAt(make([]byte, frameHeader+maxEntry), j.end); err != nil {
		return fmt.Errorf("writing to the receipts' journal: %w", err)
	}
	if err := j.file.Sync(); err != nil {
		return fmt.Errorf("syncing the receipts' journal: %w", err)
	}
	return j.mend()
}

// rotate begins a journal at the entry start, which holds entries. The earlier ones
// are durable in full bundles.
func (j *journal) rotate(dir string, start int64, entries [][]byte) error {
	text := journalText(start, entries)
	if err := writeDurably(dir, journalFile, text); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, journalFile), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("opening the receipts' journal: %w", err)
	}
	// Nobody reads the old one again: that it can't be closed must not leave the
	// caller with a journal that has moved on and entries that have not.
	_ = j.file.Close()
	*j = journal{file: f, start: start, end: int64(len(text))}
	return nil
}
