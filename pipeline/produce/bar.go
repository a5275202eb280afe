package produce

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Bar draws how much of size bytes has been read, where out is a terminal, and
// nothing elsewhere. A size of 0 is one that is not known. done wipes the bar,
// so that what is written next begins on a clean line.
func Bar(out *os.File, size int64) (progress func(read int64), done func()) {
	if !term.IsTerminal(int(out.Fd())) { //nolint:gosec // descriptors are small
		return func(int64) {}, func() {}
	}
	if size <= 0 {
		size = -1
	}
	bar := progressbar.NewOptions64(size,
		progressbar.OptionSetWriter(out),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
	return func(read int64) { _ = bar.Set64(read) }, func() { _ = bar.Clear() }
}
