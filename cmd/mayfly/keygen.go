package main

import (
	"fmt"
	"os"
	"time"

	"mayfly/retention/canary"
	"mayfly/retention/keyring"
)

// KeygenCmd makes a key-encryption key, or a canary key.
type KeygenCmd struct {
	File   string `arg:"" help:"Where to write the key. A key-encryption key: on tmpfs, so that no disk keeps an older state."`
	Canary bool   `help:"Make the key by which canaries are recognised instead (canary.key_file)."`
}

// Help is shown by mayfly keygen --help.
func (KeygenCmd) Help() string {
	return `The state moves forward every second and can't be turned back: what it could
open a second ago, it can't any more once that is due. Never back it up. Every
host that runs a warden or a desk needs the same state: copy it when it is made.

A canary key never changes and may be on a disk; every warden and desk needs the
same.

Examples:
  mayfly keygen /dev/shm/mayfly.kek
  mayfly keygen --canary canary.key`
}

// Run writes the file.
func (c *KeygenCmd) Run() error {
	generate := func() error { return keyring.GenerateKEK(c.File, time.Now()) }
	if c.Canary {
		generate = func() error { return canary.GenerateKey(c.File) }
	}
	if err := generate(); err != nil {
		return err
	}
	fmt.Println("wrote", c.File)
	if !c.Canary {
		c.warn()
	}
	return nil
}

// warn says where the key is on a disk: mayfly doctor would, but later.
func (c *KeygenCmd) warn() {
	for _, f := range keyring.AttestKEK(c.File, time.Now()) {
		if f.Condition == keyring.KEKVolatile && f.Verdict != keyring.Pass {
			fmt.Fprintf(os.Stderr, "mayfly: note: it is %s: %s\n", f.Saw, f.Mend)
		}
	}
}
