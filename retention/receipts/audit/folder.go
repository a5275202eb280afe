package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"mayfly/retention/receipts/tiles"
)

// logCopy is one log as it lies in a folder.
type logCopy struct {
	folder    string
	head      *head
	older     []*head // earlier heads of the same log, to which it must be true
	cosigned  *head   // the one of them that the log itself keeps for its cosignatures
	witnessed *head
	copyOf    *logCopy // a copy at least as long, which is the one that counts

	first, last time.Time
	edited      int64 // index of the first entry that its tile contradicts; -1: none
	reordered   bool  // that entry is elsewhere in the tile
	badTile     string
	buffer      []byte // of read
}

// openLogs reads the checkpoint of each folder and finds copies of one log.
func (t *trust) openLogs(folders []string) ([]*logCopy, error) {
	if len(folders) == 0 {
		return nil, errors.New("name the folder of at least one log")
	}
	var logs []*logCopy
	longest := map[string]*logCopy{}
	for _, folder := range folders {
		l := &logCopy{folder: folder, edited: -1}
		if inner := filepath.Join(folder, tiles.Dir); exists(filepath.Join(inner, tiles.Checkpoint)) {
			l.folder = inner
		}
		text, err := l.readUpTo(maxCheckpoint, tiles.Checkpoint)
		text = slices.Clone(text) // the next read overwrites it
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("log in %s: there is no checkpoint, so this is no log or a truncated one", folder)
		}
		if err != nil {
			return nil, fmt.Errorf("log in %s: reading its checkpoint: %w", folder, err)
		}
		if l.head, err = t.open(text); err != nil {
			return nil, fmt.Errorf("log in %s: %w", folder, err)
		}
		if err := t.openWitnessed(l); err != nil {
			return nil, fmt.Errorf("log in %s: %w", folder, err)
		}
		if other := longest[l.head.origin]; other == nil || other.head.size < l.head.size {
			longest[l.head.origin] = l
		}
		logs = append(logs, l)
	}
	for _, l := range logs {
		if other := longest[l.head.origin]; other != l {
			l.copyOf = other
			other.older = append(other.older, l.head)
		}
		if h := l.cosigned; h != nil {
			longest[l.head.origin].older = append(longest[l.head.origin].older, h)
		}
	}
	return logs, t.complete(longest)
}

// openWitnessed reads the head that the log keeps for its cosignatures, where it
// has one. Of a log that was being written to, it may have been copied later than
// the checkpoint: then nothing can be said with it.
func (t *trust) openWitnessed(l *logCopy) error {
	text, err := l.readUpTo(maxCheckpoint, tiles.Witnessed)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading its witnessed checkpoint: %w", err)
	}
	h, err := t.open(text)
	if err != nil || h.origin != l.head.origin {
		return errors.New("its witnessed checkpoint is not signed by the key given for this log")
	}
	if h.size <= l.head.size {
		l.cosigned = h
	}
	return nil
}

// complete wants every log that there is a key for.
func (t *trust) complete(logs map[string]*logCopy) error {
	for origin := range t.logs {
		if logs[origin] != nil {
			continue
		}
		if t.rostered {
			return fmt.Errorf("log %s is in the roster and its folder was not given", origin)
		}
		return fmt.Errorf("log %s: its key was given and its folder was not", origin)
	}
	return nil
}

// addCheckpoints hands older heads to the logs they are of.
func (t *trust) addCheckpoints(logs []*logCopy, texts [][]byte) error {
	for _, text := range texts {
		h, err := t.open(text)
		if err != nil {
			return fmt.Errorf("--checkpoint: %w", err)
		}
		for _, l := range logs {
			if l.copyOf == nil && l.head.origin == h.origin {
				l.older = append(l.older, h)
			}
		}
	}
	return nil
}

// maxFile bounds what is read: a bundle of entries of the largest size.
const maxFile = tiles.Width * (2 + tiles.MaxEntry)

// read reads a file of the log, or the wider one that replaced it.
func (l *logCopy) read(name, wider string) ([]byte, error) {
	data, err := l.readUpTo(maxFile, name)
	if errors.Is(err, fs.ErrNotExist) {
		return l.readUpTo(maxFile, wider)
	}
	return data, err
}

// readUpTo reads a file of at most so many bytes. The next read overwrites what it
// gives. Whoever made the folder may have put a pipe into it, which opening would
// wait for.
func (l *logCopy) readUpTo(most int64, name string) ([]byte, error) {
	file, err := os.OpenFile(filepath.Join(l.folder, filepath.FromSlash(name)), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > most {
		return nil, errors.New("not a file of a log")
	}
	l.buffer = slices.Grow(l.buffer[:0], int(info.Size()))[:info.Size()]
	_, err = io.ReadFull(file, l.buffer)
	return l.buffer, err
}

func (l *logCopy) result() LogResult {
	r := LogResult{
		Origin: l.head.origin, Folder: l.folder, Size: l.head.size, Root: l.head.root.String(), First: l.first, Last: l.last,
	}
	for _, h := range l.older {
		if h != l.cosigned {
			r.Consistent = append(r.Consistent, h.size)
		}
	}
	if l.witnessed != nil {
		r.Witnesses, r.WitnessedSize = l.witnessed.cosigners, l.witnessed.size
	}
	return r
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
