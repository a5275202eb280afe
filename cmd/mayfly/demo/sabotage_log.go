package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/tiles"
)

// editLog changes one byte of what the log says, once it is written.
func editLog() *sabotage {
	return &sabotage{
		does:  "when all is over, one byte of a receipt is changed",
		after: func(_ context.Context, d *demo) error { return editEntry(filepath.Join(d.stack.receipts, tiles.Dir)) },
	}
}

// editEntry changes a digit in entries that say when something was purged, in
// every bundle that has one.
func editEntry(folder string) error {
	edited := 0
	err := filepath.WalkDir(filepath.Join(folder, "tile", "entries"), func(path string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := bytes.LastIndex(text, []byte(`"`+receipts.TypePurged+`"`))
		if at < 0 {
			return nil
		}
		digit := bytes.IndexAny(text[at:], "123456789")
		if digit < 0 {
			return nil
		}
		text[at+digit]--
		edited++
		return os.WriteFile(path, text, 0o600)
	})
	if err == nil && edited == 0 {
		err = errors.New("no purge is in it")
	}
	if err != nil {
		return fmt.Errorf("editing the log: %w", err)
	}
	return nil
}

// forkLog continues an older copy of the log, with the log's own key, and gives
// the auditor that history instead.
func forkLog() *sabotage {
	var folder string
	return &sabotage{
		does: "the log is copied with its key, and the copy continued with another history",
		during: func(ctx context.Context, d *demo) (err error) {
			folder, err = d.stack.folder("")
			if err != nil {
				return err
			}
			// Of a log that is being written to, a copy may be torn: again, then.
			for err = copyLog(folder, d.stack.receipts); err != nil && sleepUntil(ctx, time.Now().Add(watch)); {
				err = copyLog(folder, d.stack.receipts)
			}
			return err
		},
		after: func(ctx context.Context, d *demo) error {
			if err := rewrite(ctx, folder, d); err != nil {
				return err
			}
			d.stack.receipts = folder
			return nil
		},
	}
}

// copyLog copies a log, key and all, and makes sure that it can be continued.
func copyLog(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copying the log: %w", err)
	}
	if err := os.Chmod(filepath.Join(to, receipts.KeyFile), 0o600); err != nil {
		return err
	}
	log, err := receipts.Open(to)
	if err != nil {
		return err
	}
	return log.Close()
}

// rewrite continues the copy until it is longer than anything the auditor has seen.
func rewrite(ctx context.Context, folder string, d *demo) error {
	real, err := receipts.Open(d.stack.receipts)
	if err != nil {
		return err
	}
	size := real.Size()
	if err := real.Close(); err != nil {
		return err
	}
	log, err := receipts.Open(folder)
	if err != nil {
		return err
	}
	for err == nil && log.Size() <= size {
		err = log.Record(ctx, receipts.NewPolicy(&d.policy, time.Now()))
	}
	return errors.Join(err, log.Close())
}
