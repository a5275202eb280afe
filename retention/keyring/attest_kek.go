package keyring

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Conditions of the key-encryption key.
const (
	KEKThere    Condition = "key file"
	KEKMode     Condition = "file mode"
	KEKVolatile Condition = "in memory only"
	KEKAdvances Condition = "advances"
	NoSwap      Condition = "swap"
)

// kekStale is when nobody seems to advance a key file, which each process that
// opens frames does every second.
const kekStale = time.Minute

// AttestKEK looks at the key-encryption key that the configuration names. What a
// transit engine keeps in its storage and backups it does not tell.
func (c Config) AttestKEK(now time.Time) []Finding {
	if c.KEK != "transit" {
		return AttestKEK(c.KEKFile, now)
	}
	findings := Findings{Area: AreaKEK, Subject: "transit"}
	findings.Add(KEKVolatile, Unattested, "in a transit engine, whose storage and backups are not told",
		"see to it that they outlive no window, or use keyring.kek: file")
	judgeSwap(&findings, "/proc/swaps")
	return findings.List
}

// AttestKEK looks at the file of the key-encryption key from outside: it does
// not read what is in it.
func AttestKEK(path string, now time.Time) []Finding {
	findings := Findings{Area: AreaKEK, Subject: path}
	info, err := os.Stat(path)
	if err != nil {
		for _, condition := range []Condition{KEKThere, KEKMode, KEKVolatile, KEKAdvances} {
			findings.Add(condition, Unattested, "the file can't be seen", "make it with mayfly keygen, or run as the user that has it")
		}
	} else {
		judgeKEKThere(&findings, info)
		judgeKEKMode(&findings, info)
		judgeKEKVolatile(&findings, path)
		judgeKEKAdvances(&findings, now.Sub(info.ModTime()))
	}
	judgeSwap(&findings, "/proc/swaps")
	return findings.List
}

// judgeKEKThere knows a key by its size: each has the same.
func judgeKEKThere(to *Findings, info os.FileInfo) {
	if !info.Mode().IsRegular() || info.Size() != int64(stateLength) {
		to.Add(KEKThere, Fail, "it is no key-encryption key", "correct keyring.kek_file, or make one with mayfly keygen")
		return
	}
	to.Add(KEKThere, Pass, "it is there", "")
}

func judgeKEKMode(to *Findings, info os.FileInfo) {
	mode := info.Mode().Perm()
	if mode&0o077 != 0 {
		to.Add(KEKMode, Fail, fmt.Sprintf("%04o: others can read it", mode), "chmod 600 it, and make a new one with mayfly keygen: it may have been copied")
		return
	}
	to.Add(KEKMode, Pass, fmt.Sprintf("%04o", mode), "")
}

// judgeKEKVolatile asks the file system: on a disk, overwriting a state in place
// leaves older ones in its journal, its spare blocks and its snapshots.
func judgeKEKVolatile(to *Findings, path string) {
	var fs unix.Statfs_t
	switch err := unix.Statfs(path, &fs); {
	case err != nil:
		to.Add(KEKVolatile, Unattested, "its file system is not told", "keep it on tmpfs, /dev/shm for instance")
	case fs.Type == unix.TMPFS_MAGIC:
		to.Add(KEKVolatile, Pass, "on tmpfs", "")
	case fs.Type == unix.RAMFS_MAGIC:
		to.Add(KEKVolatile, Pass, "on ramfs", "")
	default:
		to.Add(KEKVolatile, Fail, "on a disk, which may keep older states of it", "make a new one on tmpfs: mayfly keygen /dev/shm/mayfly.kek, and set keyring.kek_file")
	}
}

func judgeKEKAdvances(to *Findings, age time.Duration) {
	if age > kekStale {
		to.Add(KEKAdvances, Warn, fmt.Sprintf("not for %v: what it wrapped for the time since can still be opened", age.Round(time.Second)),
			"start a warden or a desk on this host: each advances it every second")
		return
	}
	to.Add(KEKAdvances, Pass, "it does", "")
}

// judgeSwap: memory that is swapped out is on a disk, the file on tmpfs with it.
func judgeSwap(to *Findings, path string) {
	text, err := os.ReadFile(path)
	switch areas := strings.Count(strings.TrimSpace(string(text)), "\n"); {
	case err != nil:
		to.Add(NoSwap, Unattested, "not told", "switch swap off on this machine: swapoff -a")
	case areas > 0:
		to.Add(NoSwap, Warn, "on: keys in memory may be written to it", "swapoff -a, or encrypt swap with a key that dies at power-off")
	default:
		to.Add(NoSwap, Pass, "off", "")
	}
}
