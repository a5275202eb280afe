package keyring

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"mayfly/retention"
)

// Shorten brings the keys of an epoch forward to deadline where theirs is later:
// each is wrapped anew, so that the key-encryption key can't open it any longer
// than that. What was copied from a node before stays what it was.
func (k *Keyring) Shorten(ctx context.Context, epoch retention.Epoch, deadline time.Time, kek KEK) error {
	contents, err := k.contents(ctx, epoch)
	if err != nil {
		return err
	}
	if err := contents.shorten(epoch, deadline, kek); err != nil {
		return err
	}
	return k.onAny(ctx, func(ctx context.Context, _ int, n Node) (bool, error) {
		return true, n.Publish(ctx, epoch, deadline, contents)
	})
}

// shorten wraps every key with a later deadline anew.
func (c Contents) shorten(epoch retention.Epoch, deadline time.Time, kek KEK) error {
	publics, err := c.publics(epoch)
	if err != nil {
		return err
	}
	for _, public := range publics {
		id := public.ID.String()
		wrapped := c[partPrivate][id]
		if !sooner(partPrivate, wrapped, binary.BigEndian.AppendUint64(nil, uint64(deadline.UnixMilli()))) && !deadline.Before(public.Deadline) {
			continue
		}
		unwrapped, err := public.unwrap(kek, wrapped)
		if public.Deadline = deadline; err == nil {
			wrapped, err = public.wrap(kek, unwrapped)
			clear(unwrapped)
			if err != nil {
				return fmt.Errorf("wrapping the key of epoch %v for an earlier deadline: %w", epoch, err)
			}
			c[partPrivate][id] = wrapped
		}
		// A key that this key-encryption key does not open is nobody's to wrap.
		c[partPublic][id] = public.marshal()
	}
	return nil
}
