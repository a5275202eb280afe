package keyring

import "errors"

// Config names the keyring's nodes and the key-encryption key.
type Config struct {
	Nodes   []string `yaml:"nodes" help:"standalone Redis servers of the keyring, redis://[user:password@]host:port/db; two or three"`
	KEKFile string   `yaml:"kek_file" help:"state of the key-encryption key, on tmpfs; made by mayfly keygen"`
}

// DefaultConfig keeps the key-encryption key in memory-backed /dev/shm.
func DefaultConfig() Config { return Config{KEKFile: "/dev/shm/mayfly.kek"} }

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case len(c.Nodes) == 0:
		return errors.New("keyring.nodes: name two or three standalone Redis servers, redis://host:port/0")
	case c.KEKFile == "":
		return errors.New("keyring.kek_file: a file for the key-encryption key is needed, on tmpfs")
	}
	return nil
}
