package receipts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts/tiles"
)

// Head is a checkpoint as the log itself has signed and published it.
type Head struct {
	Text []byte // the signed note, without cosignatures
	Size int64
	Root tlog.Hash
}

// Head is the latest.
func (l *Log) Head() Head {
	l.state.Lock()
	defer l.state.Unlock()
	return l.head
}

// Prove shows that the log of from entries is the beginning of the one under head,
// from its published tiles.
func (l *Log) Prove(from int64, head Head) ([]tlog.Hash, error) {
	if from <= 0 || from >= head.Size {
		return nil, nil
	}
	tree := tlog.Tree{N: head.Size, Hash: head.Root}
	proof, err := tlog.ProveTree(head.Size, from, tlog.TileHashReader(tree, tiles.Folder(l.folder())))
	if err != nil {
		return nil, fmt.Errorf("proving that the receipt log only grew: %w", err)
	}
	return proof, nil
}

// Cosigned publishes a head of this log that witnesses have cosigned: in place of
// the checkpoint, as long as the log has grown no further, and with keep also as
// tiles.Witnessed, where it stays while the log grows. Only the last step, a
// rename, keeps entries waiting.
func (l *Log) Cosigned(text []byte, keep bool) error {
	verifier, err := note.NewVerifier(l.identity.Verifier)
	if err != nil {
		return fmt.Errorf("reading the receipts' verifier key: %w", err)
	}
	head, _, _, err := formats.ParseCheckpoint(text, l.identity.Signer.Name(), verifier)
	if err != nil {
		return errors.New("publishing a cosigned checkpoint: it is not one of this log")
	}
	if keep {
		if err := replace(l.folder(), tiles.Witnessed, text, true); err != nil {
			return err
		}
	}
	const draft = tiles.Checkpoint + ".cosigned"
	if err := replace(l.folder(), draft, text, true); err != nil {
		return err
	}
	l.commit.Lock()
	defer l.commit.Unlock()
	if l.journal == nil || l.published != int64(head.Size) {
		return os.Remove(filepath.Join(l.folder(), draft))
	}
	return os.Rename(filepath.Join(l.folder(), draft), filepath.Join(l.folder(), tiles.Checkpoint))
}

// Watch gives a channel on which something waits once entries of one of the types,
// or of any where none is named, have been published.
func (l *Log) Watch(types ...string) <-chan struct{} {
	w := watcher{types, make(chan struct{}, 1)}
	l.state.Lock()
	defer l.state.Unlock()
	l.watchers = append(l.watchers, w)
	return w.woken
}

type watcher struct {
	types []string
	woken chan struct{}
}

// wake tells who watches for entries of batches.
func (l *Log) wake(batches []*batch) {
	l.state.Lock()
	defer l.state.Unlock()
	for _, w := range l.watchers {
		if slices.ContainsFunc(batches, w.wants) {
			select {
			case w.woken <- struct{}{}:
			default: // it has yet to look at what came before
			}
		}
	}
}

func (w watcher) wants(b *batch) bool {
	return len(w.types) == 0 || slices.ContainsFunc(b.entries, func(e Entry) bool { return slices.Contains(w.types, e.Type()) })
}

// folder is what other eyes may see of the log.
func (l *Log) folder() string { return filepath.Join(l.dir, tiles.Dir) }
