package tiles

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The pruned tree has at every size the root and the tiles of one that forgets
// nothing.
func TestTreeAgainstAllHashes(t *testing.T) {
	t.Parallel()
	var all []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = all[index]
		}
		return hashes, nil
	})
	tree := NewTree()
	for n := range int64(Width*Width + 3*Width + 7) {
		leaf := tlog.RecordHash(fmt.Append(nil, n))
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, hashes...)
		if err := tree.Add(leaf); err != nil {
			t.Fatal(err)
		}
		if n > 600 && n < Width*Width-3 && n%Width > 2 {
			continue
		}
		want, _ := tlog.TreeHash(n+1, reader)
		if got, err := tree.Root(); err != nil || got != want {
			t.Fatalf("root at %d: %v, %v", n+1, got, err)
		}
		for _, tile := range tlog.NewTiles(Height, n, n+1) {
			want, _ := tlog.ReadTileData(tile, reader)
			if got, err := tree.Tile(tile); err != nil || string(got) != string(want) {
				t.Fatalf("%s at %d: %v", Path(tile), n+1, err)
			}
		}
		if tree.Size()%Width == 0 {
			tree.Prune()
		}
	}
	if len(tree.hashes) > 3*2*Width {
		t.Errorf("the tree remembers %d hashes", len(tree.hashes))
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		EntriesPath(0, 5):                                  "tile/entries/000.p/5",
		EntriesPath(1067, Width):                           "tile/entries/x001/067",
		Path(tlog.Tile{H: Height, L: 0, N: 7, W: Width}):   "tile/0/007",
		Path(tlog.Tile{H: Height, L: 2, N: 1234067, W: 1}): "tile/2/x001/x234/067.p/1",
	} {
		if got != want || !Valid(got) {
			t.Errorf("%s, want %s, valid %v", got, want, Valid(got))
		}
	}
	for _, path := range []string{
		"", "/", "checkpoint/", "receipts.key", "../receipts.key", "tile/entries/../../../receipts.key", "tile/0/00", "tile/8/0/000",
		"tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/05", "tile/data/000", "tile/entries/", "tile/-1/000", "tile/0/x000/001",
		"tile/0/000.tmp", "tile//000",
	} {
		if Valid(path) {
			t.Errorf("%q passes", path)
		}
	}
}

func FuzzNextEntry(f *testing.F) {
	f.Add(AppendEntry(AppendEntry(nil, []byte("one")), nil))
	f.Add([]byte{0, 9, 1})
	f.Fuzz(func(t *testing.T, bundle []byte) {
		var again []byte
		for rest := bundle; len(rest) > 0; {
			entry, next, err := NextEntry(rest)
			if err != nil {
				return
			}
			again, rest = AppendEntry(again, entry), next
		}
		if string(again) != string(bundle) {
			t.Errorf("%x became %x", bundle, again)
		}
	})
}
