package audit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/tiles"
)

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
