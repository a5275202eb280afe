package edge

import (
	"errors"
	"time"

	"mayfly/retention/keyring"
)

// Config is how events are gathered and sealed.
type Config struct {
	Linger  time.Duration `yaml:"linger" help:"how long events are gathered before they are sealed and sent"`
	Events  int           `yaml:"events" help:"most events in one sealed batch, which is one message"`
	Memory  int64         `yaml:"memory" help:"most bytes of events that are not acknowledged yet; taking more pauses beyond"`
	KeyWait time.Duration `yaml:"key_wait" help:"how long events wait for their epoch's key to be published before they are refused"`
	Skew    time.Duration `yaml:"skew" help:"how far clocks may differ: an event further in the future is refused"`
	Lanes   int           `yaml:"lanes" help:"0: batches go to any partition; n: an account's events of one epoch share one of n message keys, and with it a partition, at the price of smaller batches"`
}

// DefaultConfig makes a batch of what a fifth of a second brings.
func DefaultConfig() Config {
	return Config{
		Linger: 200 * time.Millisecond, Events: 1000, Memory: 64 << 20,
		KeyWait: 5 * time.Second, Skew: 5 * time.Second,
	}
}

// maxEvents keeps a batch of the longest events, each in shards of its own, below
// what Kafka takes as one message.
const maxEvents = 2048

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	switch {
	case c.Linger < time.Millisecond || c.Linger > time.Minute:
		return errors.New("relay.batch.linger: must be between 1ms and 1m")
	case c.Events < 1 || c.Events > maxEvents:
		return errors.New("relay.batch.events: must be between 1 and 2048")
	case c.Memory < 1<<20:
		return errors.New("relay.batch.memory: must be at least 1048576 bytes")
	case c.KeyWait < 0 || c.KeyWait > time.Minute:
		return errors.New("relay.batch.key_wait: must be between 0s and 1m")
	case c.Skew < 0 || c.Skew > time.Hour:
		return errors.New("relay.batch.skew: must be between 0s and 1h")
	case c.Lanes < 0 || c.Lanes > keyring.MaxShards:
		return errors.New("relay.batch.lanes: must be between 0 and 65536")
	}
	return nil
}
