package redistest

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// Clock is that of a server started with StartSkewed.
type Clock struct{ file string }

// StartSkewed is Start with a clock that a test may set. A preloaded library stands
// between the server and the machine's clock, which is not touched.
func StartSkewed(t testing.TB, ahead time.Duration, args ...string) (*Server, *Clock) {
	t.Helper()
	s := prepare(t, args)
	folder := t.TempDir()
	clock := &Clock{filepath.Join(folder, "ahead")}
	if err := os.WriteFile(clock.file, make([]byte, 8), 0o600); err != nil {
		t.Fatal(err)
	}
	clock.Set(t, ahead)
	s.env = []string{"LD_PRELOAD=" + compileClock(t, folder), "CLOCK_AHEAD=" + clock.file}
	s.Run(t)
	t.Cleanup(s.Kill)
	return s, clock
}

func compileClock(t testing.TB, folder string) (library string) {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		missing(t, "no C compiler on the PATH (Debian: apt-get install gcc)")
	}
	source, library := filepath.Join(folder, "clock.c"), filepath.Join(folder, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cc", "-O2", "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("compiling the clock: %v\n%s", err, out)
	}
	return library
}

// Set makes the clock differ from the machine's by so much from now on.
func (c *Clock) Set(t testing.TB, ahead time.Duration) {
	t.Helper()
	file, err := os.OpenFile(c.file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead)), 0); err != nil {
		t.Fatal(err)
	}
}
