package receipts

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"mayfly/retention/receipts/tiles"
)

// What witnesses have cosigned is copied only once the mirror has all of it: an
// auditor would take the copy for one that was cut off.
func TestTheMirrorKeepsNoPromiseOfMore(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	fill(t, l, 3)
	dir := t.TempDir()
	m, err := NewMirror(l, dir, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	head := l.Head()
	if err := os.WriteFile(filepath.Join(l.folder(), tiles.Witnessed), head.Text, 0o600); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, tiles.Witnessed)
	if err := m.copyWitnessed(head.Size - 1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(copied); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a head of entries that the mirror lacks is in it")
	}
	if err := m.copyWitnessed(head.Size); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(copied); err != nil || string(text) != string(head.Text) {
		t.Errorf("%v, %d bytes", err, len(text))
	}
}
