package compactor

import (
	"errors"
	"time"
)

// Config is when epochs are compacted.
type Config struct {
	Grace     time.Duration `yaml:"grace" help:"from an epoch's end to its compaction; late events merge after 4, 16, 64, … times as long"`
	Every     time.Duration `yaml:"every" help:"from one look at the epochs to the next"`
	MinWindow time.Duration `yaml:"min_window" help:"policies with a shorter window stay hot: compaction would cost more than it saves"`
}

// DefaultConfig leaves writers two minutes for what is late.
func DefaultConfig() Config {
	return Config{Grace: 2 * time.Minute, Every: 10 * time.Second, MinWindow: 10 * time.Minute}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Grace < time.Second || c.Grace > 24*time.Hour:
		return errors.New("compact.grace: must be between 1s and 24h")
	case c.Every < 10*time.Millisecond || c.Every > time.Hour:
		return errors.New("compact.every: must be between 10ms and 1h")
	case c.MinWindow < 0:
		return errors.New("compact.min_window: must not be negative")
	}
	return nil
}
