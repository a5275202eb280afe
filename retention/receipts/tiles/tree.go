package tiles

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is a Merkle tree that only grows. It remembers the hashes of tiles that
// are not full, which is all that growing, its root and those tiles need.
type Tree struct {
	size   int64
	hashes map[int64]tlog.Hash // by stored hash index
}

// NewTree is the empty tree.
func NewTree() *Tree { return &Tree{hashes: map[int64]tlog.Hash{}} }

// Size is the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Add appends a leaf: tlog.RecordHash of an entry.
func (t *Tree) Add(leaf tlog.Hash) error {
	hashes, err := tlog.StoredHashesForRecordHash(t.size, leaf, t)
	if err != nil {
		return fmt.Errorf("adding leaf %d: %w", t.size, err)
	}
	first := tlog.StoredHashIndex(0, t.size)
	for i, h := range hashes {
		t.hashes[first+int64(i)] = h
	}
	t.size++
	return nil
}

// Root is the tree's root hash.
func (t *Tree) Root() (tlog.Hash, error) { return tlog.TreeHash(t.size, t) }

// Tile is the content of a tile that was not pruned.
func (t *Tree) Tile(tile tlog.Tile) ([]byte, error) { return tlog.ReadTileData(tile, t) }

// Prune forgets the hashes of full tiles.
func (t *Tree) Prune() {
	for index := range t.hashes {
		tile := tlog.TileForIndex(Height, index)
		if (tile.N+1)<<Height <= t.size>>(Height*tile.L) {
			delete(t.hashes, index)
		}
	}
}

// ReadHashes implements tlog.HashReader.
func (t *Tree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		h, ok := t.hashes[index]
		if !ok {
			return nil, fmt.Errorf("hash %d of a tree of %d leaves is not at hand", index, t.size)
		}
		hashes[i] = h
	}
	return hashes, nil
}
