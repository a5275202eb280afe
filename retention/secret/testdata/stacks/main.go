// Stacks is a process whose goroutines handle something that is to leave nothing on their
// stacks, and say when they have: what is left is for a test to look at. With the argument
// "bare" they do nothing against it.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"mayfly/retention/secret"
)

// goroutines each have a stack of their own; half of them live on.
const goroutines = 40

func main() {
	bare := len(os.Args) > 1 && os.Args[1] == "bare"
	var done sync.WaitGroup
	for i := range goroutines {
		done.Add(1)
		go func() {
			if bare {
				handle(16)
			} else {
				handleErased()
			}
			done.Done()
			if i%2 == 0 {
				select {}
			}
		}()
	}
	done.Wait()
	fmt.Println("done")
	_, _ = os.Stdin.Read(make([]byte, 1))
}

func handleErased() {
	secret.GrowStack()
	handle(16)
	runtime.GC() // it would move who uses little of a stack to a smaller one
	secret.WipeStack()
}

// handle has the text on a stack that grows by a kilobyte with each call.
//
//go:noinline
func handle(calls int) {
	var frame [1 << 10]byte
	write(frame[:])
	if calls > 0 {
		handle(calls - 1)
	}
}

// write makes the text, of which no other copy is in this program.
//
//go:noinline
func write(frame []byte) {
	for i := range 64 {
		frame[100+i] = byte(i*i)*31 ^ 0xa7 + byte(i)
	}
}
