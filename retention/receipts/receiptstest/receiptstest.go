// Package receiptstest reads receipt logs in tests. Only tests import it.
package receiptstest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mayfly/retention/receipts/tiles"
)

// Text is every entry of the log in dir, one a line, in order.
func Text(t testing.TB, dir string) string {
	t.Helper()
	checkpoint, err := os.ReadFile(filepath.Join(dir, tiles.Dir, tiles.Checkpoint))
	if err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, digit := range strings.Split(string(checkpoint), "\n")[1] {
		size = size*10 + int64(digit-'0')
	}
	var lines strings.Builder
	for n := int64(0); n*tiles.Width < size; n++ {
		name := tiles.EntriesPath(n, int(min(size-n*tiles.Width, tiles.Width)))
		bundle, err := os.ReadFile(filepath.Join(dir, tiles.Dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		for len(bundle) > 0 {
			var entry []byte
			if entry, bundle, err = tiles.NextEntry(bundle); err != nil {
				t.Fatal(err)
			}
			lines.Write(entry)
			lines.WriteByte('\n')
		}
	}
	return lines.String()
}
