package warden

import (
	"errors"
	"time"
)

// Config is how the warden works.
type Config struct {
	Shards    uint32        `yaml:"shards" help:"shards per view of an epoch whose predecessor is unknown; later ones follow the rate"`
	Retry     time.Duration `yaml:"retry" help:"wait after a purge or a mint that failed"`
	Lease     time.Duration `yaml:"lease" help:"how long after the active warden's last word a standby takes over; of several wardens one is active"`
	SweepRate int           `yaml:"sweep_rate" help:"keys a second that the sweep looks at on each server, for what purges have missed"`
}

// DefaultConfig suits a start at some thousand events per second.
func DefaultConfig() Config {
	return Config{Shards: 16, Retry: 100 * time.Millisecond, Lease: 5 * time.Second, SweepRate: 1000}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Shards < 1 || c.Shards > 1<<16:
		return errors.New("warden.shards: must be between 1 and 65536")
	case c.Retry < time.Millisecond || c.Retry > 10*time.Second:
		return errors.New("warden.retry: must be between 1ms and 10s")
	case c.SweepRate < 1 || c.SweepRate > 1_000_000:
		return errors.New("warden.sweep_rate: must be between 1 and 1000000")
	case c.Lease < time.Second || c.Lease > time.Minute:
		return errors.New("warden.lease: must be between 1s and 1m")
	}
	return nil
}
