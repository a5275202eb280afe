//go:build !linux

package embedded

import "syscall"

// ownProcess has nothing to add where the kernel can't tie a child's life to
// its parent's: after a kill -9 of this process the child has to be ended by hand.
func ownProcess() *syscall.SysProcAttr { return nil }
