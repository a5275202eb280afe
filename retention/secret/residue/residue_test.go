package residue

import (
	"bytes"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

var canary = Of(netip.MustParseAddr("2001:db8:5ca1:ab1e::dead:beef"), "canary-account-5f3a")

func TestEverySpellingIsCountedOnce(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"2001:db8:5ca1:ab1e::dead:beef", "2001:DB8:5CA1:AB1E::DEAD:BEEF", "2001:0db8:5ca1:ab1e:0000:0000:dead:beef",
		"20010db85ca1ab1e00000000deadbeef", "canary-account-5f3a", "Y2FuYXJ5LWFjY291bnQtNWYzYQ==",
		string(netip.MustParseAddr("2001:db8:5ca1:ab1e::dead:beef").AsSlice()), hex.EncodeToString([]byte("canary-account-5f3a")),
	} {
		if n := canary.Text("x" + text + "y" + text); n != 2 {
			t.Errorf("%q is counted %d times of 2", text, n)
		}
	}
}

func TestWhatLiesAcrossBlocksIsCountedOnce(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte{'.'}, 3*blockSize)
	want := 0
	for at := blockSize - 200; at < len(text)-100; at += blockSize/4 + 7 {
		copy(text[at:], "canary-account-5f3a")
		want++
	}
	copy(text[len(text)-19:], "canary-account-5f3a")
	for _, r := range []io.Reader{bytes.NewReader(text), iotest.HalfReader(bytes.NewReader(text))} {
		if n, err := canary.Count(r); n != want+1 || err != nil {
			t.Errorf("%d of %d found: %v", n, want+1, err)
		}
	}
}

func TestFilesAndMemory(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a-canary-account-5f3a"), []byte("canary-account-5f3a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := canary.Files(folder); n != 2 || err != nil {
		t.Errorf("%d of 2 found: %v", n, err)
	}
	held := []byte(strings.Repeat("canary-account-5f3a ", 1000))
	if n, err := canary.Memory(os.Getpid()); n < 1000 || err != nil {
		t.Errorf("%d found in this process: %v", n, err)
	}
	runtime.KeepAlive(held)
}
