package pipeline

import (
	"errors"
	"time"
)

// Config is how ingest batches and commits.
type Config struct {
	Linger      time.Duration `yaml:"linger" help:"how long events are gathered before they are sealed and stored"`
	Memory      int64         `yaml:"memory" help:"most bytes of events that wait to be stored; reading pauses beyond"`
	CommitDelay time.Duration `yaml:"commit_delay" help:"how far commits follow storage, so that what a failover of Redis loses is read again"`
	Skew        time.Duration `yaml:"skew" help:"how far clocks may differ: an event or stamp further in the future is refused, and a Redis further ahead stops commits"`
}

// DefaultConfig finds an event about a second after it was produced.
func DefaultConfig() Config {
	return Config{Linger: time.Second, Memory: 32 << 20, CommitDelay: 10 * time.Second, Skew: 5 * time.Second}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Linger < time.Millisecond || c.Linger > time.Minute:
		return errors.New("ingest.linger: must be between 1ms and 1m")
	case c.Memory < 1<<20:
		return errors.New("ingest.memory: must be at least 1048576 bytes")
	case c.CommitDelay < 0 || c.CommitDelay > 10*time.Minute:
		return errors.New("ingest.commit_delay: must be between 0s and 10m")
	case c.Skew < 0 || c.Skew > time.Hour:
		return errors.New("ingest.skew: must be between 0s and 1h")
	}
	return nil
}
