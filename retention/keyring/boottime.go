package keyring

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the time since boot, suspension included: the clock that nobody
// sets back. Go's own monotonic clock stands still while a machine sleeps.
func bootTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("CLOCK_BOOTTIME: " + err.Error()) // there since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}
