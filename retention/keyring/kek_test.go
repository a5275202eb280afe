package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestKEKIsForwardSecure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	now := time.Unix(1_763_775_000, 0)
	if err := GenerateKEK(path, now); err != nil {
		t.Fatal(err)
	}
	kek, err := OpenKEK(path, now)
	if err != nil {
		t.Fatal(err)
	}
	type wrapped struct {
		deadline time.Time
		bytes    []byte
	}
	var all []wrapped
	for i := 1; i <= 100; i++ {
		deadline := now.Add(time.Duration(i) * 7 * time.Second)
		b, err := kek.Wrap(deadline, []byte("secret"), []byte("epoch"))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, wrapped{deadline, b})
	}
	for step := range 20 {
		at := now.Add(time.Duration(step) * 35 * time.Second)
		if err := kek.Advance(at); err != nil {
			t.Fatal(err)
		}
		// Neither this process nor one that finds only the file opens a dead deadline.
		fresh, err := OpenKEK(path, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []*KEKFile{kek, fresh} {
			for _, w := range all {
				secret, err := k.Unwrap(w.deadline, w.bytes, []byte("epoch"))
				dead := !w.deadline.After(at)
				if dead && !errors.Is(err, ErrDestroyed) || !dead && (err != nil || !bytes.Equal(secret, []byte("secret"))) {
					t.Fatalf("at %v, deadline %v: %q, %v", at, w.deadline, secret, err)
				}
			}
		}
	}
}

func TestKEKAdvanceErasesTheOldState(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	now := time.Unix(1_763_775_000, 0)
	if err := GenerateKEK(path, now); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	kek, err := OpenKEK(path, now)
	if err != nil {
		t.Fatal(err)
	}
	inMemory := kek.chain.key
	old := bytes.Clone(inMemory)
	if err := kek.Advance(now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(path)
	if bytes.Equal(before, after) || len(before) != len(after) {
		t.Fatal("the file's state was not overwritten in place")
	}
	if bytes.Equal(inMemory, old) {
		t.Fatal("the old state is still in memory")
	}
	if err := kek.Advance(now.Add(-time.Hour)); err != nil { // a clock set back
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(path); !bytes.Equal(after, again) {
		t.Fatal("the state went back")
	}
	if err := kek.Advance(now.AddDate(1, 0, 0)); err != nil { // far past every window
		t.Fatal(err)
	}
	if _, err := OpenKEK(path, now.AddDate(1, 0, 0)); err != nil {
		t.Fatal(err)
	}
}

func TestKEKFileRefusals(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_763_775_000, 0)
	for name, test := range map[string]struct {
		spoil func(path string) error
		says  string
	}{
		"missing":  {os.Remove, "mayfly keygen"},
		"readable": {func(p string) error { return os.Chmod(p, 0o644) }, "chmod 600"},
		"empty":    {func(p string) error { return os.Truncate(p, 0) }, "damaged"},
		"torn":     {func(p string) error { return os.Truncate(p, 60) }, "damaged"},
		"edited": {func(p string) error {
			b, err := os.ReadFile(p)
			b[40] ^= 1
			return errors.Join(err, os.WriteFile(p, b, 0o600))
		}, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "kek")
			if err := errors.Join(GenerateKEK(path, now), test.spoil(path)); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenKEK(path, now); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want an error that says %q", err, test.says)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "kek")
	if err := GenerateKEK(path, now); err != nil {
		t.Fatal(err)
	}
	if err := GenerateKEK(path, now); err == nil {
		t.Fatal("an existing key-encryption key was replaced")
	}
}

func TestAnOldProcessDoesNotOverwriteANewKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	now := time.Unix(1_763_775_000, 0)
	_ = GenerateKEK(path, now)
	old, _ := OpenKEK(path, now)
	_ = os.Remove(path)
	_ = GenerateKEK(path, now)
	neu, _ := OpenKEK(path, now)
	w, _ := neu.Wrap(now.Add(time.Hour), []byte("s"), nil)
	if err := old.Advance(now.Add(time.Second)); err == nil {
		t.Error("a file of another key was taken for one's own")
	}
	fresh, err := OpenKEK(path, now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Unwrap(now.Add(time.Hour), w, nil); err != nil {
		t.Fatalf("the old process overwrote the new key: %v", err)
	}
}

func TestMemoryForgetsEvenIfTheFileIsGone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	now := time.Unix(1_763_775_000, 0)
	_ = GenerateKEK(path, now)
	k, _ := OpenKEK(path, now)
	w, _ := k.Wrap(now.Add(time.Second), []byte("s"), nil)
	_ = os.Remove(path)
	if err := k.Advance(now.Add(time.Hour)); err == nil {
		t.Error("the loss of the file went unnoticed")
	}
	if _, err := k.Unwrap(now.Add(time.Second), w, nil); !errors.Is(err, ErrDestroyed) {
		t.Fatalf("an hour after its deadline this process still unwraps: %v", err)
	}
}

func TestAdvanceIsDoneOnlyWhenTheFileIs(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	now := time.Unix(1_763_775_000, 0)
	_ = GenerateKEK(path, now)
	k, _ := OpenKEK(path, now)
	before, _ := os.ReadFile(path)
	// memory advanced, the file not
	_ = k.chain.Advance(now.Add(time.Minute))
	err := k.Advance(now.Add(time.Minute))
	after, _ := os.ReadFile(path)
	if err == nil && string(before) == string(after) {
		t.Fatal("Advance says done, the file still derives everything")
	}
}

func TestProcessesThatShareAFileStayTogether(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kek")
	now := time.Unix(1_763_775_000, 0)
	_ = GenerateKEK(path, now)
	a, _ := OpenKEK(path, now)
	b, _ := OpenKEK(path, now)
	later := now.Add(40 * 24 * time.Hour)
	if a.Advance(later) != nil || b.Advance(later) != nil {
		t.Fatal()
	}
	w, err := b.Wrap(later.Add(time.Minute), []byte("s"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Unwrap(later.Add(time.Minute), w, nil); err != nil {
		t.Errorf("two processes with one file: %v", err)
	}
	fresh, _ := OpenKEK(path, later)
	if _, err := fresh.Unwrap(later.Add(time.Minute), w, nil); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

// The chain's own HKDF is the library's.
func TestNextIsHKDF(t *testing.T) {
	t.Parallel()
	key := [keyLength]byte{1, 2, 3}
	for range 3 {
		want, err := hkdf.Expand(sha256.New, key[:], "mayfly kek next v1", keyLength)
		if err != nil {
			t.Fatal(err)
		}
		if next(&key); !bytes.Equal(key[:], want) {
			t.Fatalf("%x, want %x", key, want)
		}
	}
}

func BenchmarkKEKOneDay(b *testing.B) {
	for b.Loop() {
		if _, err := newChain(0, make([]byte, 32)).at(86_400); err != nil {
			b.Fatal(err)
		}
	}
}
