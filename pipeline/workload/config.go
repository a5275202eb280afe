package workload

import (
	"errors"
	"time"
)

// Config describes the traffic. Two generators with equal Configs give the
// same messages, byte for byte.
type Config struct {
	Seed  uint64
	Start time.Time // time of the first message

	Rate float64       // events per second, the mean over a day
	Day  time.Duration // length of a day; shorter than 24 h it shows the day's shape sooner

	// Midnight is when a day begins; zero: where Unix time is a multiple of Day, so
	// for 24 h midnight in UTC. Not after Start.
	Midnight time.Time

	Accounts int    // accounts that connect; ranks follow a Zipf law
	IDs      string // what account ids look like: "short8", "uuid" or "name"

	Alive       time.Duration // from one sign of life of a session to the next; 0: Day/288
	SessionLife float64       // mean number of "alive" events in a session

	// Shares of sessions by the access network they come from; the rest sits
	// behind IPv4 lines of its own.
	IPv6   float64
	CGNAT  float64 // carrier-grade NAT: 63 accounts an address, told apart by blocks of ports
	Mobile float64 // the same, and the address changes within a session

	Attack    float64 // share of events that are an attacker's, come in bursts
	Malformed float64 // share of messages that are no event

	Story      string        // account whose life is told at a steady pace; empty: none
	StoryEvery time.Duration // from one event of the story to the next
}

// DefaultConfig is a thousand events a second of an ordinary day. The caller
// sets Start.
func DefaultConfig() Config {
	return Config{
		Rate: 1000, Day: 24 * time.Hour,
		Accounts: 20_000, IDs: "short8",
		SessionLife: 8,
		IPv6:        0.35, CGNAT: 0.25, Mobile: 0.15,
		Attack:     0.03,
		StoryEvery: time.Second,
	}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	shares := []float64{c.IPv6, c.CGNAT, c.Mobile, c.Attack, c.Malformed}
	for _, s := range shares {
		if !(s >= 0 && s <= 1) {
			return errors.New("workload: a share must be between 0 and 1")
		}
	}
	switch {
	case c.Start.Before(time.UnixMilli(0)):
		return errors.New("workload: start must not be before 1970")
	case !(c.Rate > 0 && c.Rate <= 1e9):
		return errors.New("workload: rate must be above 0 and at most 1e9 events per second")
	case c.Day < time.Second:
		return errors.New("workload: a day must be at least 1s")
	case c.Accounts < 1 || c.Accounts > 10_000_000:
		return errors.New("workload: accounts must be between 1 and 10,000,000")
	case c.Midnight.After(c.Start):
		return errors.New("workload: midnight must not be after start")
	case c.Alive < 0:
		return errors.New("workload: alive must not be negative")
	case !(c.SessionLife >= 0 && c.SessionLife <= 1e6):
		return errors.New("workload: session life must be between 0 and 1e6 events")
	case c.IPv6+c.CGNAT+c.Mobile > 1:
		return errors.New("workload: the shares of ipv6, cgnat and mobile add up to more than 1")
	case c.Story != "" && c.StoryEvery <= 0:
		return errors.New("workload: the story needs a time between its events")
	case len(c.Story) > 128:
		return errors.New("workload: the story's account is longer than 128 bytes")
	}
	return nil
}

// midnight is Config.Midnight or its default, in Unix nanoseconds.
func (c Config) midnight() int64 {
	if c.Midnight.IsZero() {
		return 0
	}
	return c.Midnight.UnixNano()
}

// alive is Config.Alive or its default, in seconds.
func (c Config) alive() float64 {
	if c.Alive > 0 {
		return c.Alive.Seconds()
	}
	return c.Day.Seconds() / 288 // 5 min of a day of 24 h
}
