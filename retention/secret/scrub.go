package secret

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
)

// linked is what the link has told the runtime as GODEBUG, told to this package too (Makefile).
var linked string

// Overwrites says that the runtime overwrites whatever it frees (clobberfree, see package
// runtime), secret or not: a release build's does, unless the environment switches it off.
func Overwrites() (does bool) {
	for setting := range strings.SplitSeq(linked+","+os.Getenv("GODEBUG"), ",") {
		if value, ok := strings.CutPrefix(setting, "clobberfree="); ok {
			does = value != "0"
		}
	}
	return does
}

// Scrub has freed what nothing refers to any more, and what pools (sync.Pool) keep for the
// next user: that takes two collections. Where Overwrites holds nothing of it is left. Any
// other build only gives whole free pages back to the system, from which they come back
// empty. It takes milliseconds of CPU, in which the process goes on.
func Scrub() {
	runtime.GC()
	debug.FreeOSMemory() // collects once more
}
