package receipts

import (
	"fmt"
	"os"
	"path"
	"path/filepath"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts/tiles"
)

// publish brings tiles, bundles and the checkpoint to the tree's size, in this
// order: a checkpoint never covers what can't be read. Only when a bundle is full
// must its files survive a power cut; until then the journal has what is in them.
func (l *Log) publish() error {
	size := l.tree.Size()
	if l.published == size && l.journal.start == size-size%tiles.Width && l.head.Text != nil {
		return nil
	}
	durable := size/tiles.Width > l.journal.start/tiles.Width
	if err := l.publishTiles(durable); err != nil {
		return err
	}
	root, err := l.tree.Root()
	if err != nil {
		return err
	}
	head, err := writeCheckpoint(l.dir, l.identity, size, root)
	if err != nil {
		return err
	}
	l.state.Lock()
	l.head = head
	l.state.Unlock()
	if durable {
		full := size - size%tiles.Width
		tail := l.tail[len(l.tail)-int(size-full):]
		if err := l.journal.rotate(l.dir, full, tail); err != nil {
			return err
		}
		l.removePartial(l.published/tiles.Width, full/tiles.Width)
		l.tail = append([][]byte(nil), tail...)
		l.tree.Prune()
	}
	l.published = size
	return nil
}

// publishTiles writes what has changed since the journal began.
func (l *Log) publishTiles(durable bool) error {
	size, first := l.tree.Size(), l.journal.start
	if l.published > first && !durable {
		first = l.published
	}
	folders := map[string]bool{}
	put := func(name string, data []byte) error {
		dir := filepath.Join(l.dir, tiles.Dir, filepath.FromSlash(path.Dir(name)))
		folders[dir] = true
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("creating a folder of the receipt log: %w", err)
		}
		return replace(dir, path.Base(name), data, durable)
	}
	for _, tile := range tlog.NewTiles(tiles.Height, first, size) {
		data, err := l.tree.Tile(tile)
		if err != nil {
			return err
		}
		if err := put(tiles.Path(tile), data); err != nil {
			return err
		}
	}
	for n := first / tiles.Width; n*tiles.Width < size; n++ {
		width := int(min(size-n*tiles.Width, tiles.Width))
		if err := put(tiles.EntriesPath(n, width), l.bundle(n, width)); err != nil {
			return err
		}
	}
	if durable {
		return l.syncFolders(folders)
	}
	return nil
}

// bundle is the n-th bundle, of which the tail has all entries.
func (l *Log) bundle(n int64, width int) []byte {
	var b []byte
	at := int(n*tiles.Width - l.journal.start)
	for _, entry := range l.tail[at : at+width] {
		b = tiles.AppendEntry(b, entry)
	}
	return b
}

// syncFolders makes the names of files and of the folders above them durable.
func (l *Log) syncFolders(folders map[string]bool) error {
	synced := map[string]bool{}
	for dir := range folders {
		for ; !synced[dir] && len(dir) >= len(filepath.Join(l.dir, tiles.Dir)); dir = filepath.Dir(dir) {
			synced[dir] = true
			if err := syncFolder(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// removePartial removes the partial bundles and tiles that full ones replace. That
// they go matters to nobody: a failure only leaves files behind.
func (l *Log) removePartial(from, to int64) {
	for n := from; n < to; n++ {
		for _, name := range []string{
			tiles.EntriesPath(n, 1), tiles.Path(tlog.Tile{H: tiles.Height, L: 0, N: n, W: 1}),
		} {
			_ = os.RemoveAll(filepath.Join(l.dir, tiles.Dir, filepath.FromSlash(path.Dir(name))))
		}
	}
}

// writeCheckpoint signs a tree head. It replaces the last one as a whole, so that
// there is always one to hold the log to.
func writeCheckpoint(dir string, id *Identity, size int64, root tlog.Hash) (Head, error) {
	head := formats.Checkpoint{Origin: id.Signer.Name(), Size: uint64(size), Hash: root[:]}
	text, err := note.Sign(&note.Note{Text: string(head.Marshal())}, id.Signer)
	if err != nil {
		return Head{}, fmt.Errorf("signing a checkpoint: %w", err)
	}
	return Head{text, size, root}, replace(filepath.Join(dir, tiles.Dir), tiles.Checkpoint, text, true)
}
