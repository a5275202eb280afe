package canary

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"mayfly/retention/canary/form"
)

// Config says what canaries look like, and whom the prober asks.
type Config struct {
	Ranges        []string      `yaml:"ranges" help:"networks that canaries come from: ordinary ones of yours that no customer has; empty: no canaries"`
	AccountFormat string        `yaml:"account_format" help:"how your accounts look: # stands for a digit, @ for a letter, % for a hexadecimal digit, as in user-########"`
	KeyFile       string        `yaml:"key_file" help:"key by which canaries are recognised, made by mayfly keygen --canary; the same for every warden and desk"`
	Every         time.Duration `yaml:"every" help:"time between two canaries of a policy; 0: one for each epoch"`
	Grace         time.Duration `yaml:"grace" help:"how long after a deadline a canary is tried: other processes drop their keys within a second of it"`
	Peers         []string      `yaml:"peers" help:"URLs of the other processes that open frames (desk.listen of each), which are asked for keys of dead epochs"`
}

// DefaultConfig sends none until there are ranges.
func DefaultConfig() Config { return Config{KeyFile: "canary.key", Grace: 3 * time.Second} }

// On reports whether there are to be canaries.
func (c Config) On() bool { return len(c.Ranges) > 0 }

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	if !c.On() {
		return nil
	}
	if _, err := form.New(c.AccountFormat, c.Ranges); err != nil {
		return fmt.Errorf("canary.ranges, canary.account_format: %w", err)
	}
	switch {
	case c.KeyFile == "":
		return errors.New("canary.key_file: name the file that mayfly keygen --canary has made")
	case c.Every < 0 || c.Every > 0 && c.Every < time.Second:
		return errors.New("canary.every: must be 0 (one for each epoch) or at least 1s")
	case c.Grace < time.Second || c.Grace > time.Hour:
		return errors.New("canary.grace: must be between 1s and 1h")
	}
	for _, peer := range c.Peers {
		if u, err := url.Parse(peer); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" {
			return errors.New("canary.peers: each must be a URL such as http://desk:8080")
		}
	}
	return nil
}

// OpenKey reads the key that the configuration names.
func OpenKey(c Config) (*Key, error) {
	f, err := form.New(c.AccountFormat, c.Ranges)
	if err != nil {
		return nil, fmt.Errorf("canary.ranges, canary.account_format: %w", err)
	}
	secret, err := loadSecret(c.KeyFile)
	if err != nil {
		return nil, err
	}
	return NewKey(secret, f)
}
