package embedded

import "syscall"

// ownProcess puts a child in a process group of its own, so that Ctrl-C in a
// terminal reaches it through us and not before us, and has the kernel kill it
// when we die.
func ownProcess() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
