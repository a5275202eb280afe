package kafkatest

import (
	"errors"
	"os"
	"syscall"
)

// childAttributes let the kernel end a broker whose test process is gone, also
// after a panic or a kill that no clean-up survives.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// lockFile waits until no other process holds the lock.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// alive reports whether a process of that id exists.
func alive(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }
