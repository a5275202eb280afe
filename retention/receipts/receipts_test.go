package receipts

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample() Lookup {
	at := time.Date(2026, 11, 7, 10, 0, 0, 0, time.UTC)
	return Lookup{
		Case: "ABUSE-17", Reason: "spam", Subject: "prefix /24",
		Events: 3, Accounts: 2, Ambiguous: true, Complete: true, From: at, To: at.Add(time.Minute),
	}
}

func read(t *testing.T, dir string) []entry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	var entries []entry
	for line := range strings.Lines(string(data)) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %d: %v", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
	return entries
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

func TestAppendIsNumberedAndKeptAcrossOpenings(t *testing.T) {
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
		if e.Seq != uint64(i+1) || e.ID != ids[i] || e.Type != "lookup" || e.Time.IsZero() {
			t.Errorf("entry %d is %+v", i, e)
		}
		if diff := cmp.Diff(sample(), e.Lookup); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAppendConcurrently(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := l.Append(t.Context(), sample()); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for i, e := range read(t, dir) {
		if e.Seq != uint64(i+1) {
			t.Fatalf("entry %d has number %d", i, e.Seq)
		}
	}
}

func TestOpenAfterACrash(t *testing.T) {
	t.Parallel()
	for name, tail := range map[string]string{
		"half a line":             `{"seq":3,"time":"2026`,
		"a whole line, unended":   `{"seq":3,"id":"x","type":"lookup"}`,
		"zeros that never landed": "\x00\x00\x00\x00",
		"zeros, then an ending":   "\x00\x00\x00\"}\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := open(t, dir)
			appendOne(t, l)
			appendOne(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, func(data string) string { return data + tail })
			appendOne(t, open(t, dir))
			if got := read(t, dir); len(got) != 3 || got[2].Seq != 3 {
				t.Errorf("after the crash the log holds %+v", got)
			}
		})
	}
}

func TestOpenRefusesAChangedLog(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(string) string{
		"a line is gone":       func(s string) string { return s[strings.Index(s, "\n")+1:] },
		"a number was changed": func(s string) string { return strings.Replace(s, `"seq":2`, `"seq":7`, 1) },
		"a line was spoilt":    func(s string) string { return strings.Replace(s, "{", "x", 1) },
		"last two are swapped": func(s string) string {
			return strings.NewReplacer(`"seq":2`, `"seq":3`, `"seq":3`, `"seq":2`).Replace(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			l := open(t, dir)
			for range 3 {
				appendOne(t, l)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, change)
			if l, err := Open(dir); err == nil {
				_ = l.Close()
				t.Error("opened a log that was changed")
			}
		})
	}
}

func spoil(t *testing.T, dir string, change func(string) string) {
	t.Helper()
	path := filepath.Join(dir, FileName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(data))), 0o600); err != nil {
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
