// Package sweep looks slowly at every key of Mayfly's on a Redis server, for what
// the ordinary course of things has missed: a key that somebody has persisted, one
// with too late an expiry, one of an epoch that is over. Only the warden uses it.
//
// Purging never depends on it. Its invariants: a key is only ever given less time,
// or none; a key that is not Mayfly's is never touched, and one that nobody can
// explain is left to its expiry, as it may be another deployment's; and the server is
// asked no faster than the rate. To look at a key is also what makes a server free one that
// has expired unnoticed.
package sweep

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Rule is what is to be of one key.
type Rule struct {
	Ours        bool      // else it is not touched
	Dead        bool      // it should be gone
	Unexplained bool      // nobody knows what it is for: it should be gone if it has no expiry
	By          time.Time // when it has to be gone
}

// Found is what was found, and mended.
type Found struct {
	Keys          int // looked at
	WithoutExpiry int
	Late          int // expiry
	Dead          int // that were still there
	Unexplained   int // left to their expiry, or not touched at all
}

// Add adds another server's.
func (f *Found) Add(other Found) {
	f.Keys += other.Keys
	f.WithoutExpiry += other.WithoutExpiry
	f.Late += other.Late
	f.Dead += other.Dead
	f.Unexplained += other.Unexplained
}

// page is how many keys are asked about at once.
const page = 100

// Server looks at all keys that match pattern, rate per second at most.
func Server(ctx context.Context, client redis.Cmdable, pattern string, rate int, rule func(ctx context.Context, name string) Rule) (Found, error) {
	var found Found
	var cursor uint64
	tick := time.NewTicker(time.Duration(page) * time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		names, next, err := client.Scan(ctx, cursor, pattern, page).Result()
		if err != nil {
			return found, fmt.Errorf("listing keys: %w", err)
		}
		if err := look(ctx, client, names, rule, &found); err != nil {
			return found, err
		}
		if cursor = next; cursor == 0 {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return found, ctx.Err()
		case <-tick.C:
		}
	}
}

// look asks for the expiry of keys and mends what is wrong.
func look(ctx context.Context, client redis.Cmdable, names []string, rule func(context.Context, string) Rule, found *Found) error {
	rules := make([]Rule, len(names))
	expiries := make([]*redis.DurationCmd, len(names))
	asked := 0
	_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			switch rules[i] = rule(ctx, name); {
			case rules[i].Ours:
				expiries[i] = p.PExpireTime(ctx, name)
				asked++
			case rules[i].Unexplained:
				found.Unexplained++
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading expiries: %w", err)
	}
	if asked == 0 {
		return nil
	}
	_, err = client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			if rules[i].Ours {
				mend(ctx, p, name, rules[i], expiries[i].Val(), found)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mending keys: %w", err)
	}
	return nil
}

func mend(ctx context.Context, p redis.Pipeliner, name string, r Rule, expiry time.Duration, found *Found) {
	const never, gone = -1, -2
	if expiry == gone {
		return
	}
	found.Keys++
	switch {
	case expiry == never:
		found.WithoutExpiry++
	case expiry.Milliseconds() > r.By.UnixMilli():
		found.Late++
	}
	switch {
	case r.Dead || r.Unexplained && expiry == never:
		found.Dead++
		p.Unlink(ctx, name)
		return
	case r.Unexplained:
		found.Unexplained++
	}
	if expiry == never || expiry.Milliseconds() > r.By.UnixMilli() {
		p.Do(ctx, "PEXPIREAT", name, r.By.UnixMilli(), "LT") // no expiry counts as the latest
	}
}
