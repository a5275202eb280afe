package tiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/mod/sumdb/tlog"
)

// Folder is a log's folder as a tlog.TileReader, of heads that are or were
// published in it.
type Folder string

// Height implements tlog.TileReader.
func (Folder) Height() int { return Height }

// ReadTiles implements tlog.TileReader. What a full tile has replaced is cut out
// of that.
func (f Folder) ReadTiles(these []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(these))
	for i, tile := range these {
		full := tile
		full.W = Width
		var err error
		if data[i], err = f.Read(Path(tile), Path(full)); err != nil {
			return nil, err
		}
		if len(data[i]) < tile.W*tlog.HashSize {
			return nil, errors.New("a tile of the receipt log is too short")
		}
		data[i] = data[i][:tile.W*tlog.HashSize]
	}
	return data, nil
}

// SaveTiles implements tlog.TileReader.
func (Folder) SaveTiles([]tlog.Tile, [][]byte) {}

// Read reads a file of the log, or the full one that has replaced it.
func (f Folder) Read(name, full string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(string(f), filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		data, err = os.ReadFile(filepath.Join(string(f), filepath.FromSlash(full)))
	}
	if err != nil {
		return nil, fmt.Errorf("reading the receipt log: %w", err)
	}
	return data, nil
}
