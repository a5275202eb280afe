package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts"
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
			return nil, fmt.Errorf("reading a checkpoint: %w", err)
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

// scan reads every entry, and holds the log to its checkpoint and to the older
// ones. The entries count only when it returns nil.
func (l *logCopy) scan(take func(receipts.Entry)) error {
	older := slices.SortedFunc(slices.Values(l.older), func(a, b *head) int { return cmp.Compare(a.size, b.size) })
	if n := len(older); n > 0 && older[n-1].size > l.head.size {
		return fmt.Errorf("rolled back: an older checkpoint covers %d entries, this one %d", older[n-1].size, l.head.size)
	}
	tree := tiles.NewTree()
	forked := int64(-1)
	var unreadable error
	hold := func() error {
		for ; len(older) > 0 && older[0].size == tree.Size(); older = older[1:] {
			root, err := tree.Root()
			if err != nil {
				return err
			}
			if root != older[0].root && forked < 0 {
				forked = tree.Size()
			}
		}
		return nil
	}
	if err := hold(); err != nil {
		return err
	}
	for n := int64(0); n*tiles.Width < l.head.size; n++ {
		if err := l.scanBundle(tree, n, func(index int64, text []byte) error {
			e, err := receipts.Parse(text)
			if err != nil {
				unreadable = cmp.Or(unreadable, fmt.Errorf("entry %d: %w", index, err))
			} else {
				l.note(e.When())
				take(e)
			}
			return hold()
		}); err != nil {
			return err
		}
	}
	root, err := tree.Root()
	if err != nil {
		return err
	}
	switch {
	case root != l.head.root:
		return l.tampered()
	case forked >= 0:
		return fmt.Errorf("forked: its first %d entries are not those of the older checkpoint", forked)
	case l.badTile != "":
		return fmt.Errorf("%s was edited, or is missing: no proof can be made with it", l.badTile)
	}
	return unreadable
}

func (l *logCopy) note(at time.Time) {
	if l.first.IsZero() || at.Before(l.first) {
		l.first = at
	}
	if at.After(l.last) {
		l.last = at
	}
}

// tampered says how the entries differ from what was signed.
func (l *logCopy) tampered() error {
	switch {
	case l.edited >= 0 && l.reordered:
		return fmt.Errorf("reordered: entry %d is not where it was when the checkpoint was signed", l.edited)
	case l.edited >= 0:
		return fmt.Errorf("edited: entry %d is not what the checkpoint was signed for", l.edited)
	}
	return errors.New("forked: entries and tiles agree with each other, but not with the signed checkpoint")
}

// scanBundle reads the n-th bundle and compares the tiles that it completes.
func (l *logCopy) scanBundle(tree *tiles.Tree, n int64, take func(index int64, text []byte) error) error {
	width := int(min(l.head.size-n*tiles.Width, tiles.Width))
	bundle, err := l.read(tiles.EntriesPath(n, width), tiles.EntriesPath(n, tiles.Width))
	if err != nil {
		return fmt.Errorf("truncated: the entries from %d on are missing, and its checkpoint covers %d", n*tiles.Width, l.head.size)
	}
	before := tree.Size()
	leaves := make([]tlog.Hash, 0, width)
	for range width {
		var text []byte
		if text, bundle, err = tiles.NextEntry(bundle); err != nil {
			return fmt.Errorf("truncated: the entries from %d on are missing, and its checkpoint covers %d", tree.Size(), l.head.size)
		}
		leaf := tlog.RecordHash(text)
		leaves = append(leaves, leaf)
		if err := tree.Add(leaf); err != nil {
			return err
		}
		if err := take(tree.Size()-1, text); err != nil {
			return err
		}
	}
	full := slices.DeleteFunc(tlog.NewTiles(tiles.Height, before, tree.Size()), isPartial)
	if width < tiles.Width || tree.Size() == l.head.size {
		// What is left is the tree's right edge.
		edge := tlog.NewTiles(tiles.Height, 0, tree.Size())
		full = append(full, slices.DeleteFunc(edge, func(t tlog.Tile) bool { return !isPartial(t) })...)
	}
	if err := l.compareTiles(tree, full, before, leaves); err != nil {
		return err
	}
	if width == tiles.Width {
		tree.Prune()
	}
	return nil
}

func isPartial(t tlog.Tile) bool { return t.W < tiles.Width }

// compareTiles looks whether the tiles on disk are those of the entries.
func (l *logCopy) compareTiles(tree *tiles.Tree, these []tlog.Tile, before int64, leaves []tlog.Hash) error {
	for _, tile := range these {
		want, err := tree.Tile(tile)
		if err != nil {
			return err
		}
		full := tile
		full.W = tiles.Width
		got, err := l.read(tiles.Path(tile), tiles.Path(full))
		if err == nil && len(got) >= len(want) && string(got[:len(want)]) == string(want) {
			continue
		}
		l.badTile = cmp.Or(l.badTile, tiles.Path(tile))
		if tile.L == 0 && l.edited < 0 {
			l.locate(before, leaves, got)
		}
	}
	return nil
}

// locate finds the first entry that the stored leaf hashes contradict.
func (l *logCopy) locate(before int64, leaves []tlog.Hash, stored []byte) {
	for i, leaf := range leaves {
		if len(stored) < (i+1)*tlog.HashSize {
			return
		}
		if tlog.Hash(stored[i*tlog.HashSize:(i+1)*tlog.HashSize]) == leaf {
			continue
		}
		l.edited = before + int64(i)
		for at := 0; at+tlog.HashSize <= len(stored); at += tlog.HashSize {
			l.reordered = l.reordered || tlog.Hash(stored[at:at+tlog.HashSize]) == leaf
		}
		return
	}
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
