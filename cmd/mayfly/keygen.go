package main

import (
	"fmt"
	"time"

	"mayfly/retention/keyring"
)

// KeygenCmd makes a key-encryption key.
type KeygenCmd struct {
	File string `arg:"" help:"Where to write the key's state: on tmpfs, so that no disk keeps an older one."`
}

// Help is shown by mayfly keygen --help.
func (KeygenCmd) Help() string {
	return `The state moves forward every second and can't be turned back: what it could
open a second ago, it can't any more once that is due. Never back it up. Every
host that runs a warden or a desk needs the same state: copy it when it is made.

Example:
  mayfly keygen /dev/shm/mayfly.kek`
}

// Run writes the file.
func (c *KeygenCmd) Run() error {
	if err := keyring.GenerateKEK(c.File, time.Now()); err != nil {
		return err
	}
	fmt.Println("wrote", c.File)
	return nil
}
