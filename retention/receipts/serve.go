package receipts

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"mayfly/retention/receipts/tiles"
)

// Handler serves the log as C2SP tlog-tiles has it: its checkpoint, tiles and
// bundles, and nothing else of the folder. Paths are relative to the log.
func (l *Log) Handler() http.Handler {
	folder := filepath.Join(l.dir, tiles.Dir)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path
		if !tiles.Valid(name) {
			http.NotFound(w, r)
			return
		}
		root, err := os.OpenRoot(folder) // no link leads out of it
		if err != nil {
			http.Error(w, "the receipt log can't be read now", http.StatusServiceUnavailable)
			return
		}
		defer root.Close()
		// The largest file is a bundle of 256 entries of maxEntry bytes.
		data, err := root.ReadFile(filepath.FromSlash(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			http.NotFound(w, r)
			return
		case err != nil:
			http.Error(w, "the receipt log can't be read now", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if name == tiles.Checkpoint {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		}
		_, _ = w.Write(data)
	})
}
