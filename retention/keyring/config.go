package keyring

import (
	"errors"
	"strings"
	"time"
)

// Config names the keyring's nodes and the key-encryption key.
type Config struct {
	Nodes   []string      `yaml:"nodes" help:"standalone Redis servers of the keyring, redis://[user:password@]host:port/db; two or three"`
	KEK     string        `yaml:"kek" help:"where the key-encryption key is: file, or transit (Vault, OpenBao)"`
	KEKFile string        `yaml:"kek_file" help:"state of the key-encryption key, on tmpfs; made by mayfly keygen"`
	Transit TransitConfig `yaml:"transit"`
}

// DefaultConfig keeps the key-encryption key in memory-backed /dev/shm.
func DefaultConfig() Config {
	return Config{
		KEK: "file", KEKFile: "/dev/shm/mayfly.kek",
		Transit: TransitConfig{Address: "https://localhost:8200", Mount: "transit", Key: "mayfly", Slot: time.Minute},
	}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case len(c.Nodes) == 0:
		return errors.New("keyring.nodes: name two or three standalone Redis servers, redis://host:port/0")
	case c.KEK == "transit":
		return c.Transit.validate()
	case c.KEK != "file":
		return errors.New("keyring.kek: must be file or transit")
	case c.KEKFile == "":
		return errors.New("keyring.kek_file: a file for the key-encryption key is needed, on tmpfs")
	}
	return nil
}

func (c TransitConfig) validate() error {
	switch {
	case c.Address == "" || c.Mount == "" || c.Key == "" || strings.ContainsAny(c.Mount+c.Key, "?#% "):
		return errors.New("keyring.transit: address, mount and key are needed")
	case c.TokenFile == "":
		return errors.New("keyring.transit.token_file: a file with a token is needed")
	case c.Slot < time.Second || c.Slot%time.Second != 0:
		return errors.New("keyring.transit.slot: must be whole seconds")
	}
	return nil
}

// OpenKEK opens the key-encryption key that the configuration names.
func (c Config) OpenKEK(now time.Time) (KEK, error) {
	if c.KEK == "transit" {
		return OpenTransit(c.Transit, now)
	}
	return OpenKEK(c.KEKFile, now)
}
