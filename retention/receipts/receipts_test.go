package receipts

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/receipts/receiptstest"
	"mayfly/retention/receipts/tiles"
)

func sample() Lookup {
	at := time.Date(2026, 11, 7, 10, 0, 0, 0, time.UTC)
	return Lookup{
		Case: "ABUSE-17", Reason: "spam", Subject: "prefix /24",
		Events: 3, Accounts: 2, Ambiguous: true, Complete: true, From: at, To: at.Add(time.Minute),
	}
}

func read(t *testing.T, dir string) []*Looked {
	t.Helper()
	var lookups []*Looked
	for line := range strings.Lines(receiptstest.Text(t, dir)) {
		e, err := Parse([]byte(strings.TrimSuffix(line, "\n")))
		if err != nil {
			t.Fatalf("line %d: %v", len(lookups)+1, err)
		}
		lookups = append(lookups, e.(*Looked))
	}
	return lookups
}

func open(t *testing.T, dir string) *Log {
	t.Helper()
	l, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func appendOne(t *testing.T, l *Log) string {
	t.Helper()
	id, err := l.Append(t.Context(), sample())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// fill appends n look-ups in batches of all sizes.
func fill(t *testing.T, l *Log, n int) (ids []string) {
	t.Helper()
	for size := 1; n > 0; size = size*2 + 1 {
		var entries []Entry
		for range min(size, n) {
			e := &Looked{ID: rand.Text(), Lookup: sample()}
			entries, ids = append(entries, e), append(ids, e.ID)
		}
		if err := l.Record(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
		n -= len(entries)
	}
	return ids
}

func TestAppendIsInOrderAndKeptAcrossOpenings(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "receipts")
	l := open(t, dir)
	ids := []string{appendOne(t, l), appendOne(t, l)}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ids = append(ids, appendOne(t, open(t, dir)))

	entries := read(t, dir)
	if len(entries) != 3 {
		t.Fatalf("%d entries, want 3", len(entries))
	}
	for i, e := range entries {
		if e.ID != ids[i] || e.Time.IsZero() {
			t.Errorf("entry %d is %+v", i, e)
		}
		if diff := cmp.Diff(sample(), e.Lookup); diff != "" {
			t.Error(diff)
		}
	}
}

// Many append at once: each entry is there once, under whatever batches they made,
// and a checkpoint covers all of them.
func TestAppendConcurrently(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	var (
		wait sync.WaitGroup
		mu   sync.Mutex // guards ids
		ids  = map[string]int{}
	)
	for range 20 {
		wait.Go(func() {
			for range 30 {
				id, err := l.Append(t.Context(), sample())
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				ids[id]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	for _, e := range read(t, dir) {
		ids[e.ID]--
	}
	for id, n := range ids {
		if n != 0 {
			t.Errorf("entry %s: %d more acknowledged than written", id, n)
		}
	}
	if len(ids) != 600 || l.Size() != 600 {
		t.Errorf("%d entries, %d ids", l.Size(), len(ids))
	}
}

// An opening after a crash finds what was acknowledged, whatever the torn write
// left and whichever files that were not synced are lost.
func TestOpenAfterACrash(t *testing.T) {
	t.Parallel()
	tail := appendFrame(nil, []byte(`{"torn":"entry"}`))
	tails := map[string]string{
		"nothing":                 "",
		"half a header":           string(tail[:3]),
		"half an entry":           string(tail[:len(tail)-2]),
		"a wrong checksum":        string(tail[:2]) + "abcd" + string(tail[6:]),
		"zeros that never landed": strings.Repeat("\x00", 400),
	}
	for name, tail := range tails {
		for _, count := range []int{0, 1, 3, 255, 256, 257, 515} {
			t.Run(fmt.Sprint(name, " after ", count), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				l := open(t, dir)
				ids := fill(t, l, count)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				spoil(t, filepath.Join(dir, journalFile), func(data string) string { return data + tail })
				loseUnsynced(t, dir)
				l = open(t, dir)
				ids = append(ids, appendOne(t, l))
				got := read(t, dir)
				if len(got) != len(ids) {
					t.Fatalf("after the crash the log holds %d entries, want %d", len(got), len(ids))
				}
				for i, e := range got {
					if e.ID != ids[i] {
						t.Fatalf("entry %d is %s, want %s", i, e.ID, ids[i])
					}
				}
			})
		}
	}
}

// loseUnsynced empties the partial tiles and bundles, which are not synced.
func loseUnsynced(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, tiles.Dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(filepath.Dir(path), ".p") || strings.Contains(path, "tile/1/") {
			return err
		}
		return os.WriteFile(path, nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever changes a closed log finds that it no longer opens.
func TestOpenRefusesAChangedLog(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, dir string){
		"the journal's entries are gone": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, journalFile), func(s string) string { return s[:journalHeader+100] })
		},
		"an entry of the journal was changed, checksum and all": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, journalFile), func(s string) string {
				entries, _ := frames([]byte(s[journalHeader:]))
				entries[1] = []byte(strings.Replace(string(entries[1]), `"events":3`, `"events":4`, 1))
				return string(journalText(256, entries))
			})
		},
		"entries of the journal were swapped": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, journalFile), func(s string) string {
				entries, _ := frames([]byte(s[journalHeader:]))
				entries[0], entries[1] = entries[1], entries[0]
				return string(journalText(256, entries))
			})
		},
		"an entry of a full bundle was changed": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, tiles.Dir, "tile/entries/000"), func(s string) string { return strings.Replace(s, `"events":3`, `"events":4`, 1) })
		},
		"a bundle is gone":    func(t *testing.T, dir string) { remove(t, filepath.Join(dir, tiles.Dir, "tile/entries/000")) },
		"the journal is gone": func(t *testing.T, dir string) { remove(t, filepath.Join(dir, journalFile)) },
		"the key is gone":     func(t *testing.T, dir string) { remove(t, filepath.Join(dir, KeyFile)) },
		"the checkpoint gone": func(t *testing.T, dir string) { remove(t, filepath.Join(dir, tiles.Dir, tiles.Checkpoint)) },
		"all but the key gone": func(t *testing.T, dir string) {
			remove(t, filepath.Join(dir, tiles.Dir))
			remove(t, filepath.Join(dir, journalFile))
		},
		"the checkpoint was changed": func(t *testing.T, dir string) {
			spoil(t, filepath.Join(dir, tiles.Dir, tiles.Checkpoint), func(s string) string { return strings.Replace(s, "\n260\n", "\n259\n", 1) })
		},
		"the key can be read by others": func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, KeyFile), 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := open(t, dir)
			fill(t, l, 260)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			change(t, dir)
			if l, err := Open(dir); err == nil {
				_ = l.Close()
				t.Error("opened a log that was changed")
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func spoil(t *testing.T, path string, change func(string) string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if changed := change(string(data)); changed == string(data) && len(data) == 0 {
		t.Fatal("nothing was changed")
	} else if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessHoldsTheLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	if l, err := Open(dir); err == nil {
		_ = l.Close()
		t.Error("opened twice")
	}
}

func TestAppendAfterCloseAndCancel(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(cancelled, sample()); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled append gave %v", err)
	}
	_ = l.Close()
	if _, err := l.Append(t.Context(), sample()); !errors.Is(err, ErrClosed) {
		t.Errorf("an append after Close gave %v", err)
	}
}

func TestAppendRefusesWhatIsNoReceipt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	for name, change := range map[string]func(*Lookup){
		"address as case":    func(l *Lookup) { l.Case = "192-0-2-1" },
		"no case":            func(l *Lookup) { l.Case = "" },
		"free text":          func(l *Lookup) { l.Reason = "because of 192.0.2.1" },
		"address as subject": func(l *Lookup) { l.Subject = "192.0.2.1" },
		"prefix as subject":  func(l *Lookup) { l.Subject = "prefix 192.0.2.0/24" },
	} {
		entry := sample()
		change(&entry)
		if _, err := l.Append(t.Context(), entry); err == nil {
			t.Errorf("%s: written", name)
		} else if strings.Contains(err.Error(), "192") {
			t.Errorf("%s: the error quotes it", name)
		}
	}
	if got := read(t, dir); len(got) != 0 {
		t.Errorf("written: %+v", got)
	}
}

// A key that is gone is never replaced while there are entries, published or not.
func TestNoNewKeyForAnOldLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	tile := filepath.Join(dir, tiles.Dir, "tile")
	if err := os.WriteFile(tile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	appendOne(t, l) // durable in the journal alone
	_ = l.Close()
	remove(t, tile)
	remove(t, filepath.Join(dir, KeyFile))
	if l, err := Open(dir); err == nil {
		_ = l.Close()
		t.Error("a log that had an entry began anew")
	}
}

// A key that can't be looked at, for now, is not one that is gone.
func TestAKeyOutOfSight(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_ = open(t, dir).Close()
	remove(t, filepath.Join(dir, KeyFile))
	if err := os.Symlink(KeyFile, filepath.Join(dir, KeyFile)); err != nil { // a loop: it can't be followed
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(dir, PubFile))
	if err != nil {
		t.Fatal(err)
	}
	if l, err := Open(dir); err == nil {
		_ = l.Close()
		t.Error("opened without its key")
	}
	after, err := os.ReadFile(filepath.Join(dir, PubFile))
	if err != nil || string(before) != string(after) {
		t.Errorf("the log was given another key: %v", err)
	}
}
