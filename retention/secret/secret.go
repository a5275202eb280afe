// Package secret is where keys are handled: what runs inside Do leaves nothing
// of itself in this process's memory.
//
// A release build (GOEXPERIMENT=runtimesecret, see runtime/secret) erases the
// registers and the stack of what ran inside Do when it returns, and what it
// allocated when that is collected. Any other build runs it as it is: Erases
// tells which, and so do mayfly version and the doctor. The package may be
// imported by whatever handles a key; the invariants for its users:
//
//   - a key, and everything that it can be computed from, is allocated inside Do
//     and is not written into what was allocated outside, other than a buffer
//     that its owner clears;
//   - no function with a pool of buffers (fmt, encoding/json) is given a key;
//   - no goroutine is started inside Do: it would not be covered;
//   - who drops a key at its deadline calls Collect.
//
// Addresses and accounts are too many to be handled inside Do. Of them nothing is left a
// second or two after their deadline, by simpler means and other rules:
//
//   - a buffer that lives on is cleared by its owner when he is done with what is in it,
//     or comes from a sync.Pool and is cleared or filled anew by each user;
//   - connections that bring them are a Conn;
//   - a goroutine calls GrowStack before it handles any, and WipeStack when it has;
//   - everything else is left to the collector, which overwrites what it frees
//     (Overwrites), and to Scrub, which every process calls at each deadline.
package secret

import (
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// asked counts the calls of Collect that no collection has answered yet.
var asked atomic.Int64

// Collect has what was dropped erased soon: the runtime would otherwise erase it
// at its next collection, up to two minutes later. It does not wait.
func Collect() {
	if !Erases || asked.Add(1) > 1 {
		return // who is at it goes round again
	}
	go func() {
		for {
			answered := asked.Load()
			runtime.GC()
			if asked.CompareAndSwap(answered, 0) {
				return
			}
		}
	}()
}

// Harden keeps this process's memory out of core dumps, and out of reach of
// debuggers that run as the same user. Memory is not locked: swap off is the
// machine's business, and what the doctor asks for.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("switching core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making this process's memory unreadable to others: %w", err)
	}
	return nil
}

// Hardened reports whether Harden holds of this process.
func Hardened() bool {
	var cores unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &cores); err != nil || cores.Max != 0 {
		return false
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	return err == nil && dumpable == 0
}
