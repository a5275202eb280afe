package guarantee

import (
	"testing"

	"golang.org/x/sys/unix"
)

// kekBytes is more than the state of a key-encryption key, which is overwritten in place, and
// less than anything that a log writes.
const kekBytes = 120

const noLimit = unix.RLIM_INFINITY

// limitFiles lets a running process write no file beyond so many bytes, as a full disk does.
func limitFiles(t testing.TB, p *process, bytes uint64) {
	t.Helper()
	limit := unix.Rlimit{Cur: bytes, Max: noLimit}
	if err := unix.Prlimit(p.PID, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
}
