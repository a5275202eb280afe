package secret

// stackRoom is more than any work on addresses takes of a stack: a look-up 17 kB, most of them
// to open a wrap.
const stackRoom = 24 << 10

// GrowStack makes this goroutine's stack as large as what follows needs, in a build that
// Erases. Where a stack is outgrown the runtime moves what is in use to a larger one, and gives
// the other back as it is, but in Do. A release build's stacks never shrink (.ci/build).
func GrowStack() {
	if Erases {
		deepen(0)
	}
}

//go:noinline
func deepen(i int) byte {
	var room [stackRoom]byte
	room[i] = 1
	return room[len(room)-1-i]
}

// WipeStack erases what calls that have returned left on this goroutine's stack, in a build
// that Erases. A goroutine that waits, or has ended, otherwise keeps it for as long as nothing
// else runs there. Unlike Do it makes no allocation dearer.
func WipeStack() { Do(func() {}) }
