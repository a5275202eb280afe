package keyring

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mayfly/retention"
	"mayfly/retention/redisconn/redistest"
	"mayfly/retention/seal"
)

// lying is a node whose clock is a window ahead: every epoch is over.
type lying struct{ *MemoryNode }

func (lying) Publish(context.Context, retention.Epoch, time.Time, Contents) error {
	return ErrDestroyed
}

func TestOneNodeWithAWrongClockStopsNothing(t *testing.T) {
	t.Parallel()
	a, b, c := NewMemoryNode("a"), NewMemoryNode("b"), lying{NewMemoryNode("c")} // c's clock is a window ahead
	ring, _ := New(a, b, c)
	kek, _ := NewMemoryKEK(time.Now())
	p := retention.Policy{Name: "p", Window: time.Hour}
	epoch := p.EpochAt(time.Now())
	keys, err := ring.Mint(context.Background(), epoch, epoch.Deadline(p.Window), kek, four, silent)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := seal.NewWriter(epoch, keys[0].ID, keys[0].Key)
	if err := ring.PublishWrap(context.Background(), keys[0], w.Wrap()); err != nil {
		t.Fatalf("one of three nodes has a wrong clock: %v", err)
	}
}

func TestAWriterNeedsNoAccessToPrivateKeys(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	admin := s.Client(t)
	ctx := context.Background()
	if err := admin.Do(ctx, "ACL", "SETUSER", "ingest", "on", ">pw", "+@all", "-@dangerous", "~mayfly:key:public:*", "~mayfly:key:wraps:*", "~mayfly:key:mark:*").Err(); err != nil {
		t.Fatal(err)
	}
	user := redis.NewClient(&redis.Options{Addr: s.Addr, Username: "ingest", Password: "pw", DisableIdentity: true})
	defer func() { _ = user.Close() }()
	kek, _ := NewMemoryKEK(time.Now())
	p := retention.Policy{Name: "p", Window: time.Hour}
	epoch := p.EpochAt(time.Now())
	ring, _ := New(NewRedisNode("a", admin))
	if _, err := ring.Mint(ctx, epoch, epoch.Deadline(p.Window), kek, four, silent); err != nil {
		t.Fatal(err)
	}
	mine, _ := New(NewRedisNode("a", user))
	keys, err := mine.Public(ctx, epoch)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := seal.NewWriter(epoch, keys[0].ID, keys[0].Key)
	if err := mine.PublishWrap(ctx, keys[0], w.Wrap()); err != nil {
		t.Fatalf("a writer that may not touch private keys can't write: %v", err)
	}
}
