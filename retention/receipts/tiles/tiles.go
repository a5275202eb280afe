// Package tiles is the shape of a receipt log on disk and over HTTP: the tiles
// and entry bundles of C2SP tlog-tiles, and the growing Merkle tree behind them.
// The writer and the offline verifier of retention/receipts share it.
//
// The hashing is that of golang.org/x/mod/sumdb/tlog (RFC 6962); this package
// only keeps the hashes of the tree's right edge, and names files.
package tiles

import (
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A tile is 8 levels high, so it and an entry bundle hold at most 256.
const (
	Height = 8
	Width  = 1 << Height
)

// MaxEntry is the largest entry, in bytes: its length takes two.
const MaxEntry = 1<<16 - 1

// Names in a log's folder.
const (
	Dir        = "log"        // in it is what other eyes may see: C2SP tlog-tiles
	Checkpoint = "checkpoint" // the signed tree head, in Dir
	Witnessed  = "witnessed"  // beside it: the latest head that enough witnesses have cosigned
)

// Path names a tile of hashes: "tile/0/x001/067.p/5".
func Path(t tlog.Tile) string {
	return "tile/" + strings.TrimPrefix(t.Path(), "tile/8/")
}

// EntriesPath names the n-th bundle of entries, of which there are w in it.
func EntriesPath(n int64, w int) string {
	t := tlog.Tile{H: Height, L: -1, N: n, W: w}
	return "tile/entries/" + strings.TrimPrefix(t.Path(), "tile/8/data/")
}

// Valid reports whether path names a file that a log may have: a checkpoint, a
// tile or a bundle, spelt in the one way there is.
func Valid(path string) bool {
	if path == Checkpoint || path == Witnessed {
		return true
	}
	rest, ok := strings.CutPrefix(path, "tile/")
	if !ok || strings.HasPrefix(rest, "data/") {
		return false
	}
	if bundle, ok := strings.CutPrefix(rest, "entries/"); ok {
		rest = "data/" + bundle
	}
	_, err := tlog.ParseTilePath("tile/8/" + rest)
	return err == nil
}

// AppendEntry adds an entry of at most MaxEntry bytes to a bundle.
func AppendEntry(bundle, entry []byte) []byte {
	bundle = binary.BigEndian.AppendUint16(bundle, uint16(len(entry)))
	return append(bundle, entry...)
}

var errBundle = errors.New("the bundle ends within an entry")

// NextEntry splits a bundle's first entry off.
func NextEntry(bundle []byte) (entry, rest []byte, err error) {
	if len(bundle) < 2 {
		return nil, nil, errBundle
	}
	n := int(binary.BigEndian.Uint16(bundle))
	if len(bundle) < 2+n {
		return nil, nil, errBundle
	}
	return bundle[2 : 2+n : 2+n], bundle[2+n:], nil
}

// FirstEntries is the bundle of the first w entries of a bundle.
func FirstEntries(bundle []byte, w int) ([]byte, error) {
	rest := bundle
	var err error
	for range w {
		if _, rest, err = NextEntry(rest); err != nil {
			return nil, err
		}
	}
	return bundle[:len(bundle)-len(rest)], nil
}
