package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn"
)

// verify looks for anything that is left of epochs that came due, by other ways
// than the warden's: each server is asked itself. It gives what is wrong.
func (d *demo) verify(ctx context.Context, due []watchedEpoch) []string {
	var wrong []string
	for _, check := range []func(context.Context, []watchedEpoch) error{
		d.verifyKeyring, d.verifyData, d.verifyKEK, d.verifyDesk,
	} {
		if err := check(ctx, due); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

// verifyKeyring: no node has anything of a due epoch, nor had when the warden said so.
func (d *demo) verifyKeyring(ctx context.Context, due []watchedEpoch) error {
	for _, e := range due {
		if err := cmp.Or(e.left, d.epochs.left(ctx, e.Epoch)); err != nil {
			return err
		}
	}
	return nil
}

// verifyData: the data Redis has no key of a due epoch, and none without expiry.
func (d *demo) verifyData(ctx context.Context, due []watchedEpoch) error {
	client, err := redisconn.Open(redisconn.Config{Addrs: []string{d.stack.data}})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	dead := map[string]bool{}
	for _, e := range due {
		dead[e.Epoch.String()] = true
	}
	keys := client.Scan(ctx, 0, "*", 1000).Iterator()
	found := false
	for keys.Next(ctx) {
		epoch := epochOfKey(keys.Val())
		if dead[epoch] {
			return fmt.Errorf("the data Redis still has a key of epoch %s", epoch)
		}
		left, err := client.PTTL(ctx, keys.Val()).Result()
		if err != nil {
			return fmt.Errorf("asking the data Redis: %w", err)
		}
		if left == -1 {
			return errors.New("the data Redis has a key without expiry")
		}
		found = found || strings.HasPrefix(epoch, policyName+"/")
	}
	if err := keys.Err(); err != nil {
		return fmt.Errorf("scanning the data Redis: %w", err)
	}
	if !found { // a living epoch always has its directory: this check looked in the wrong place
		return errors.New("the data Redis holds nothing of the living epochs either, so the check proves nothing")
	}
	return nil
}

// epochOfKey reads mayfly:{EPOCH} and mayfly:{EPOCH/key/view/shard}; an epoch is
// policy/start+length.
func epochOfKey(key string) string {
	_, tag, _ := strings.Cut(key, "{")
	tag, _, _ = strings.Cut(tag, "}")
	policy, rest, _ := strings.Cut(tag, "/")
	span, _, _ := strings.Cut(rest, "/")
	return policy + "/" + span
}

// verifyKEK: neither the roles' key-encryption key nor its file opens what was
// copied from the keyring while the epochs lived.
func (d *demo) verifyKEK(_ context.Context, due []watchedEpoch) error {
	file, err := keyring.OpenKEK(d.stack.kekFile, time.Now())
	if err != nil {
		return err
	}
	opened := false
	for _, e := range due {
		opened = opened || e.opened
		for _, kek := range []keyring.KEK{d.stack.process.KEK, file} {
			if _, err := kek.Unwrap(e.Deadline, nil, nil); !errors.Is(err, keyring.ErrDestroyed) {
				return fmt.Errorf("the key-encryption key still reaches epoch %v", e.Epoch)
			}
			for _, stolen := range e.stolen {
				if len(stolen.Break(kek)) > 0 {
					return fmt.Errorf("a copied key of epoch %v can still be unwrapped", e.Epoch)
				}
			}
		}
	}
	if len(due) > 0 && !opened {
		return errors.New("no copied key could be unwrapped even while its epoch lived, so the check proves nothing")
	}
	return nil
}

// verifyDesk: the desk finds nothing of the story in a due epoch, and says why.
func (d *demo) verifyDesk(ctx context.Context, due []watchedEpoch) error {
	for _, e := range due {
		result, ok := d.story.look(ctx, "looked up at the end", lookup.Request{
			Account: account,
			From:    e.Epoch.StartTime().UTC().Format(time.RFC3339Nano),
			To:      e.Epoch.EndTime().Add(-time.Millisecond).UTC().Format(time.RFC3339Nano),
		})
		if !ok || len(result.Events) > 0 || result.PurgedBefore.Before(e.Epoch.EndTime()) {
			return fmt.Errorf("a look-up does not say that epoch %v is purged", e.Epoch)
		}
	}
	return nil
}
