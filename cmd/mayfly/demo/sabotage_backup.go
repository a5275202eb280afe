package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
)

// backup is everything that the three Redis had at one moment.
type backup struct {
	at      time.Time
	servers []*redis.Client // data, then the keyring's nodes
	dumps   []map[string]string
}

// keepBackup copies all Redis servers while addresses live, and puts the copy back
// when their deadlines have passed.
func keepBackup() *sabotage {
	b := &backup{}
	return &sabotage{
		does: "all Redis are copied while the addresses live, to be put back after their deadlines",
		during: func(ctx context.Context, d *demo) error {
			// Something must be in it: wait for the first epochs to fill.
			sleepUntil(ctx, d.began.Add(2*d.policy.EpochLength()))
			return b.take(ctx, d)
		},
		after:    func(ctx context.Context, _ *demo) error { return b.restore(ctx) },
		harmless: b.useless,
	}
}

func (b *backup) take(ctx context.Context, d *demo) error {
	data, err := redisconn.Open(redisconn.Config{Addrs: []string{d.stack.data}})
	if err != nil {
		return err
	}
	d.stack.cleanups = append(d.stack.cleanups, func() { _ = data.Close() })
	single, ok := data.(*redis.Client)
	if !ok {
		return errors.New("the demo's data Redis is one server")
	}
	b.at, b.servers = time.Now(), append([]*redis.Client{single}, d.epochs.nodes...)
	for _, server := range b.servers {
		dump := map[string]string{}
		keys := server.Scan(ctx, 0, "*", 1000).Iterator()
		for keys.Next(ctx) {
			value, err := server.Dump(ctx, keys.Val()).Result()
			if err != nil {
				return fmt.Errorf("copying Redis: %w", err)
			}
			dump[keys.Val()] = value
		}
		if err := keys.Err(); err != nil {
			return fmt.Errorf("copying Redis: %w", err)
		}
		b.dumps = append(b.dumps, dump)
	}
	return nil
}

// restore puts everything back, to stay.
func (b *backup) restore(ctx context.Context) error {
	for i, server := range b.servers {
		for key, value := range b.dumps[i] {
			if err := server.RestoreReplace(ctx, key, 0, value).Err(); err != nil {
				return fmt.Errorf("putting the backup back: %w", err)
			}
		}
	}
	return nil
}

// useless tries every private key of a dead epoch that the backup brought back.
func (b *backup) useless(ctx context.Context, d *demo) (string, error) {
	file, err := keyring.OpenKEK(d.stack.kekFile, time.Now())
	if err != nil {
		return "", err
	}
	dead := map[string]watchedEpoch{}
	for _, e := range d.dueAtEnd {
		dead[e.Epoch.String()] = e
	}
	tried, opened, chunks := 0, 0, 0
	for name := range b.dumps[0] {
		if _, ok := dead[epochOfKey(name)]; ok {
			chunks++
		}
	}
	for _, e := range d.dueAtEnd {
		copies, _ := d.epochs.ring.Copies(ctx, e.Epoch)
		for _, back := range copies {
			tried += back.Keys()
			opened += max(len(back.Break(d.stack.process.KEK)), len(back.Break(file)))
		}
	}
	switch {
	case tried == 0 || chunks == 0:
		return "", errors.New("the backup holds nothing of an epoch that has come due, so it proves nothing")
	case opened > 0:
		return "", fmt.Errorf("%d of %d keys in the backup can still be opened", opened, tried)
	}
	return fmt.Sprintf("caught: the backup of %s was put back: %d keys and %d chunks of dead epochs, and the key-encryption key, which only moves forward, opens none of them",
		b.at.Format(time.TimeOnly), tried, chunks), nil
}
