package residue

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// Memory counts occurrences in all that a process can write to: heap, stacks, buffers, freed memory
// that it has not given back. It takes the rights of a debugger, and reads a process that runs: what
// moves meanwhile may be missed or counted twice.
func (n Needles) Memory(pid int) (found int, err error) {
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, fmt.Errorf("listing a process's memory: %w", err)
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, fmt.Errorf("opening a process's memory: %w", err)
	}
	defer memory.Close()
	regions := bufio.NewScanner(maps)
	for regions.Scan() {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(regions.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			continue // above the range of int64: the kernel's
		}
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		in, err := n.Count(io.NewSectionReader(memory, from, to-from))
		if err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EFAULT) { // unmapped meanwhile
			return 0, fmt.Errorf("reading a process's memory: %w", err)
		}
		found += in
	}
	return found, regions.Err()
}
