package receipts

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mayfly/retention/receipts/tiles"
)

var errFault = errors.New("injected fault")

// faulty is a file on which the next calls of one kind fail: before they did
// anything, half way, or after they did everything.
type faulty struct {
	*os.File
	call    string // "write", "sync" or "truncate"
	applied string // "not", "half" or "fully"
	armed   bool
}

func (f *faulty) fails(call string) bool { return f.armed && f.call == call }

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	if !f.fails("write") {
		return f.File.WriteAt(p, off)
	}
	n := map[string]int{"not": 0, "half": len(p) / 2, "fully": len(p)}[f.applied]
	if _, err := f.File.WriteAt(p[:n], off); err != nil {
		return 0, err
	}
	return n, errFault
}

func (f *faulty) Sync() error {
	if !f.fails("sync") {
		return f.File.Sync()
	}
	if f.applied == "fully" {
		return errors.Join(errFault, f.File.Sync())
	}
	return errFault
}

func (f *faulty) Truncate(size int64) error {
	if f.fails("truncate") {
		return errFault
	}
	return f.File.Truncate(size)
}

// Whatever fails, Append says so, and later entries and openings find a log
// that holds exactly what was acknowledged.
func TestAppendUnderFaults(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"write", "sync"} {
		for _, applied := range []string{"not", "half", "fully"} {
			t.Run(fmt.Sprintf("%s %s applied", call, applied), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				l := open(t, dir)
				f := &faulty{File: l.journal.file.(*os.File), call: call, applied: applied}
				l.journal.file = f
				acknowledged := []string{appendOne(t, l)}
				f.armed = true
				for range 2 {
					if id, err := l.Append(t.Context(), sample()); !errors.Is(err, errFault) || id != "" {
						t.Fatalf("Append gave %q, %v", id, err)
					}
				}
				f.call = "truncate"
				if _, err := l.Append(t.Context(), sample()); !errors.Is(err, errFault) {
					t.Fatalf("Append over a torn end gave %v", err)
				}
				f.armed = false
				acknowledged = append(acknowledged, appendOne(t, l))
				_ = l.Close()
				acknowledged = append(acknowledged, appendOne(t, open(t, dir)))
				entries := read(t, dir)
				if len(entries) != len(acknowledged) {
					t.Fatalf("%d entries, want %d", len(entries), len(acknowledged))
				}
				for i, e := range entries {
					if e.ID != acknowledged[i] {
						t.Errorf("entry %d is %+v", i, e)
					}
				}
			})
		}
	}
}

// An entry that is in the journal is written, though it can't be published; the
// log takes on no more until that works, and then covers everything.
func TestPublishingFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	tile := filepath.Join(dir, tiles.Dir, "tile")
	if err := os.WriteFile(tile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ids := []string{appendOne(t, l)}
	if l.Ready() == nil {
		t.Error("a log that can't publish is ready")
	}
	if id, err := l.Append(t.Context(), sample()); err == nil {
		t.Errorf("%s was taken by a log that can't publish", id)
	}
	if err := os.Remove(tile); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, appendOne(t, l))
	if err := l.Ready(); err != nil {
		t.Error(err)
	}
	got := read(t, dir)
	if len(got) != 2 || got[0].ID != ids[0] || got[1].ID != ids[1] {
		t.Errorf("the log holds %d entries, want %v", len(got), ids)
	}
}
