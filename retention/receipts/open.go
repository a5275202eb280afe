package receipts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts/tiles"
)

// Open opens the log in dir, and makes it, with a signing key of its own, where
// dir is missing or empty. It reads the log through: one that its last checkpoint
// does not describe is refused. Entries that a crash tore are cut off: nobody was
// told that they were written. A full disk does not keep it from opening, as the
// purges of who opens it must go on: see Ready.
func Open(dir string) (*Log, error) {
	if err := os.MkdirAll(filepath.Join(dir, tiles.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("creating the receipts folder: %w", err)
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	l := &Log{dir: dir, lock: lock, tree: tiles.NewTree(), ledger: newLedger(), counts: map[string]int64{}}
	if err := l.open(); err != nil {
		if l.journal != nil {
			err = errors.Join(err, l.journal.file.Close())
		}
		return nil, errors.Join(err, lock.Close())
	}
	return l, nil
}

func (l *Log) open() (err error) {
	_, err = os.Stat(filepath.Join(l.dir, KeyFile))
	if errors.Is(err, fs.ErrNotExist) { // and not merely out of sight
		err = initialize(l.dir)
	}
	if err != nil {
		return err
	}
	if l.identity, err = LoadIdentity(filepath.Join(l.dir, KeyFile)); err != nil {
		return err
	}
	head, err := l.readCheckpoint()
	if err != nil {
		return err
	}
	var recent [][]byte
	if l.journal, recent, err = openJournal(l.dir); err != nil {
		return err
	}
	if err := l.load(head, recent); err != nil {
		return err
	}
	if err := l.journal.mend(); err != nil {
		return err
	}
	if err := l.journal.file.Sync(); err != nil {
		return fmt.Errorf("syncing the receipts' journal: %w", err)
	}
	l.note(l.publish())
	return nil
}

// initialize makes an empty log. The key comes last: with a key there must be a
// log, and a log whose key is gone is never given another one, which would let it
// begin anew unseen.
func initialize(dir string) error {
	// Before anything is published entries are in the journal only.
	journal, err := os.Stat(filepath.Join(dir, journalFile))
	if err == nil && journal.Size() > int64(journalHeader) || exists(filepath.Join(dir, tiles.Dir, "tile")) {
		return fmt.Errorf("%s has receipts but %s is gone: put it back, or move the folder away to begin another log", dir, KeyFile)
	}
	id, text, err := generateIdentity(newOrigin("mayfly"))
	if err != nil {
		return err
	}
	empty, err := tiles.NewTree().Root()
	if err != nil {
		return err
	}
	err = writeDurably(dir, journalFile, journalText(0, nil))
	if err == nil {
		_, err = writeCheckpoint(dir, id, 0, empty)
	}
	return errors.Join(
		err,
		syncFolder(filepath.Join(dir, tiles.Dir)),
		writeDurably(dir, PubFile, []byte(id.Verifier+"\n")),
		writeDurably(dir, KeyFile, text),
	)
}

func (l *Log) readCheckpoint() (formats.Checkpoint, error) {
	text, err := os.ReadFile(filepath.Join(l.dir, tiles.Dir, tiles.Checkpoint))
	if err != nil {
		return formats.Checkpoint{}, fmt.Errorf("reading the receipts' checkpoint (a log that has a key has one): %w", err)
	}
	verifier, err := note.NewVerifier(l.identity.Verifier)
	if err != nil {
		return formats.Checkpoint{}, fmt.Errorf("reading the receipts' verifier key: %w", err)
	}
	head, _, _, err := formats.ParseCheckpoint(text, l.identity.Signer.Name(), verifier)
	if err != nil {
		return formats.Checkpoint{}, errors.New("the receipts' checkpoint is not one that this log's key has signed: it was changed")
	}
	return *head, nil
}

// load reads all entries and holds the log to its checkpoint.
func (l *Log) load(head formats.Checkpoint, recent [][]byte) error {
	signed := int64(head.Size)
	held := signed == 0
	take := func(text []byte) error {
		e, err := Parse(text)
		if err != nil {
			return fmt.Errorf("reading receipt %d: %w", l.tree.Size(), err)
		}
		if err := l.take(text, e); err != nil {
			return err
		}
		if l.tree.Size() != signed {
			return nil
		}
		root, err := l.tree.Root()
		held = err == nil && root == tlog.Hash(head.Hash)
		return err
	}
	for l.tree.Size() < l.journal.start {
		if err := l.loadBundle(take); err != nil {
			return err
		}
		l.tail = l.tail[:0]
		l.tree.Prune()
	}
	for _, text := range recent {
		if err := take(text); err != nil {
			return err
		}
	}
	if !held {
		return fmt.Errorf("the receipts are not what their checkpoint of %d entries describes: they were changed", signed)
	}
	// What is published is made anew from the journal on: a crash may have left
	// files of it half written.
	l.published = l.journal.start
	if l.tree.Size() == l.journal.start && signed != l.journal.start {
		l.published = -1
	}
	return nil
}

// loadBundle reads the next full bundle.
func (l *Log) loadBundle(take func([]byte) error) error {
	name := tiles.EntriesPath(l.tree.Size()/tiles.Width, tiles.Width)
	bundle, err := os.ReadFile(filepath.Join(l.dir, tiles.Dir, filepath.FromSlash(name)))
	if err != nil {
		return fmt.Errorf("reading the receipts: %w", err)
	}
	for range tiles.Width {
		var text []byte
		if text, bundle, err = tiles.NextEntry(bundle); err != nil {
			return fmt.Errorf("reading receipts: %w", err)
		}
		if err := take(text); err != nil {
			return err
		}
	}
	return nil
}
