package audit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"mayfly/retention/receipts"
	"mayfly/retention/receipts/tiles"
)

// A mirror that catches up after any number of entries, or an outage, can be
// checked as it lies there; one that the log does not continue is left alone.
func TestMirror(t *testing.T) {
	t.Parallel()
	a := newAuthor(t)
	dir := filepath.Join(t.TempDir(), "volume", "mirror")
	m, err := receipts.NewMirror(a.Log, dir, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	grow := func(n int) {
		var entries []receipts.Entry
		for range n {
			entries = append(entries, &receipts.Looked{ID: "A", Lookup: receipts.Lookup{Case: "A-1", Reason: "spam", Subject: "ip"}})
		}
		a.record(entries...)
	}
	for _, n := range []int{1, 1, 5, 250, 300, 1, 1000} {
		grow(n)
		if err := m.Copy(); err != nil {
			t.Fatal(err)
		}
		r, err := Verify([]string{dir}, a.options())
		if err != nil || r.Entries != a.Size() {
			t.Fatalf("of %d entries: %+v, %v", a.Size(), r, err)
		}
	}
	// The volume is away: the log goes on, and the mirror catches up.
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	grow(700)
	if m.Copy() == nil {
		t.Error("a mirror that is away follows")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	// Copying breaks off before the checkpoint: the old one still holds.
	blocked := filepath.Join(dir, filepath.FromSlash(tiles.EntriesPath(a.Size()/tiles.Width, int(a.Size()%tiles.Width))))
	if err := os.MkdirAll(filepath.Join(blocked, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	if m.Copy() == nil {
		t.Error("a mirror that can't be written follows")
	}
	if r, err := Verify([]string{dir}, a.options()); err != nil || r.Entries != a.Size()-700 {
		t.Errorf("half way: %+v, %v", r, err)
	}
	if err := os.RemoveAll(blocked); err != nil {
		t.Fatal(err)
	}
	if err := m.Copy(); err != nil {
		t.Fatal(err)
	}
	if r, err := Verify([]string{dir}, a.options()); err != nil || r.Entries != a.Size() {
		t.Errorf("after an outage: %+v, %v", r, err)
	}

	// The log is put back to an older state and written on: the mirror knows better.
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(a.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(old, receipts.KeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	grow(10)
	if err := m.Copy(); err != nil {
		t.Fatal(err)
	}
	before := a.Size()
	for _, more := range []int{0, 10, 300} {
		fork := open(t, old)
		time.Sleep(2 * time.Millisecond) // its entries have other times
		f := &author{t: t, dir: old, Log: fork}
		for range more {
			f.record(&receipts.Looked{ID: "B", Lookup: receipts.Lookup{Case: "B-1", Reason: "spam", Subject: "ip"}})
		}
		m, err := receipts.NewMirror(fork, dir, zap.NewNop(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Copy(); err == nil || !strings.Contains(err.Error(), "not the beginning of this log") {
			t.Errorf("with %d other entries: %v", more, err)
		}
		if r, err := Verify([]string{dir}, a.options()); err != nil || r.Entries != before {
			t.Errorf("the mirror was touched: %+v, %v", r, err)
		}
		_ = fork.Close()
	}
}
