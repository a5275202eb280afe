package keyring_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/redisconn/redistest"
)

// The conformance suite of keyring.Node, on every implementation.
func TestNode(t *testing.T) {
	t.Parallel()
	makers := map[string]func(t *testing.T) keyring.Node{
		"memory": func(*testing.T) keyring.Node { return keyring.NewMemoryNode("m") },
		"redis": func(t *testing.T) keyring.Node {
			return keyring.NewRedisNode("r", redistest.Start(t).Client(t))
		},
	}
	for name, make := range makers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, make(t))
		})
	}
}

func conform(t *testing.T, n keyring.Node) {
	ctx := context.Background()
	const length = 1000
	start := time.Now().UnixMilli()/length*length - 10*length
	at := func(i int64) retention.Epoch {
		return retention.Epoch{Policy: "p", Start: start + i*length, Length: length}
	}
	later := time.Now().Add(time.Hour)
	key := keyring.Contents{
		"public": {"00": []byte("pub")}, "private": {"00": []byte("priv")},
	}
	wrap := keyring.Contents{"wraps": {"00 01": []byte("wrap")}}

	expect := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) {
			t.Fatalf("%s: got %v, want %v", what, got, want)
		}
	}
	has := func(epoch retention.Epoch, part keyring.Part, want map[string][]byte) {
		t.Helper()
		got, err := n.Fetch(ctx, epoch, part)
		if err != nil || !cmp.Equal(got, want) {
			t.Fatalf("%v %s: got %q, %v, want %q", epoch, part, got, err, want)
		}
	}

	has(at(1), "public", map[string][]byte{})
	expect("a wrap without its key", n.Publish(ctx, at(1), later, wrap), keyring.ErrNoKey)
	expect("publishing", n.Publish(ctx, at(1), later, key), nil)
	expect("publishing again", n.Publish(ctx, at(1), later, key), nil)
	expect("a wrap", n.Publish(ctx, at(1), later, wrap), nil)
	if _, lives, err := n.Lives(ctx, at(1), at(2)); err != nil || !lives[0].Held || lives[1].Held ||
		(lives[0].Remaining-time.Until(later)).Abs() > time.Second {
		t.Fatalf("%+v, %v", lives, err)
	}
	has(at(1), "private", map[string][]byte{"00": []byte("priv")})
	has(at(1), "wraps", map[string][]byte{"00 01": []byte("wrap")})

	expect("replacing", n.Publish(ctx, at(1), later, keyring.Contents{"public": {"00": []byte("evil")}}), nil)
	has(at(1), "public", map[string][]byte{"00": []byte("pub")})

	at8 := func(deadline byte, rest string) []byte { return append([]byte{0, 0, 0, 0, 0, 0, 0, deadline}, rest...) }
	for _, step := range []struct{ give, keep []byte }{
		{at8(7, "wrap"), at8(7, "wrap")}, {at8(9, "later"), at8(7, "wrap")}, {at8(7, "again"), at8(7, "wrap")}, {at8(6, "sooner"), at8(6, "sooner")},
	} {
		expect("another deadline", n.Publish(ctx, at(3), later, keyring.Contents{
			"public": {"02": append([]byte("\x01 minted "), step.give...)}, "private": {"02": step.give},
		}), nil)
		has(at(3), "private", map[string][]byte{"02": step.keep})
		has(at(3), "public", map[string][]byte{"02": append([]byte("\x01 minted "), step.keep...)})
	}

	expect("a future epoch", n.Publish(ctx, at(100), later, key), keyring.ErrNotBegun)
	expect("a passed deadline", n.Publish(ctx, at(2), time.Now().Add(-time.Millisecond), key), keyring.ErrDestroyed)

	for _, step := range []struct {
		by, holder string
		span       time.Duration
	}{
		{"a", "", 0}, {"a", "a", time.Minute}, {"b", "a", time.Minute}, {"b", "a", 0}, {"a", "a", time.Hour}, {"a", "", 0}, {"b", "b", 50 * time.Millisecond},
	} {
		holder, left, err := n.Lease(ctx, step.by, step.span)
		if err != nil || holder != step.holder || (holder != "") != (left > 0) || left > time.Hour {
			t.Fatalf("%+v: %q has the lease for %v, %v", step, holder, left, err)
		}
	}
	time.Sleep(100 * time.Millisecond)
	if holder, _, err := n.Lease(ctx, "c", time.Minute); err != nil || holder != "c" {
		t.Fatalf("a lease that has run out: %q, %v", holder, err)
	}

	expect("destroying", n.Destroy(ctx, at(1), time.Hour), nil)
	purged := func(epoch retention.Epoch, want bool) {
		t.Helper()
		now, lives, err := n.Lives(ctx, epoch)
		if err != nil || lives[0].Purged != want || time.Since(now).Abs() > time.Second {
			t.Fatalf("%v: %+v at %v, %v", epoch, lives, now, err)
		}
	}
	purged(at(0), true)
	purged(at(1), true)
	purged(at(2), false)
	purged(retention.Epoch{Policy: "q", Start: at(1).Start, Length: length}, false)
	expect("destroying again", n.Destroy(ctx, at(1), time.Hour), nil)
	for _, part := range []keyring.Part{"public", "private", "wraps"} {
		has(at(1), part, map[string][]byte{})
	}
	expect("re-publishing what was destroyed", n.Publish(ctx, at(1), later, key), keyring.ErrDestroyed)
	expect("publishing below the mark", n.Publish(ctx, at(0), later, key), keyring.ErrDestroyed)
	expect("a wrap for what was destroyed", n.Publish(ctx, at(1), later, wrap), keyring.ErrDestroyed)
	expect("publishing above the mark", n.Publish(ctx, at(2), later, key), nil)
	longer := retention.Epoch{Policy: "p", Start: start - start%(100*length), Length: 100 * length}
	expect("an epoch of another length, begun earlier", n.Publish(ctx, longer, later, key), nil)
	expect("destroying an older epoch", n.Destroy(ctx, at(0), time.Hour), nil)
	expect("the mark never falls", n.Publish(ctx, at(1), later, key), keyring.ErrDestroyed)
}

// A warden restores a mark without knowing for how long the purge wanted it kept.
func TestAMarkIsKeptForAsLongAsAnybodyAsked(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := redistest.Start(t).Client(t)
	n := keyring.NewRedisNode("r", client)
	epoch := retention.Epoch{Policy: "p", Start: 0, Length: 1000}
	for _, step := range []struct{ keep, want time.Duration }{
		{time.Hour, time.Hour}, {time.Minute, time.Hour}, {2 * time.Hour, 2 * time.Hour},
	} {
		if err := n.Destroy(ctx, epoch, step.keep); err != nil {
			t.Fatal(err)
		}
		names, err := client.Keys(ctx, "*").Result()
		if err != nil || len(names) != 1 {
			t.Fatalf("keys %q, %v", names, err)
		}
		if left := client.PTTL(ctx, names[0]).Val(); left > step.want || left < step.want-10*time.Second {
			t.Errorf("kept for %v more, it is gone in %v, not %v", step.keep, left, step.want)
		}
	}
}

func TestRedisNodeExpiry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	client := redistest.Start(t).Client(t)
	n := keyring.NewRedisNode("r", client)
	policy := retention.Policy{Name: "p", Window: time.Minute}
	epoch := policy.EpochAt(time.Now())
	deadline := epoch.Deadline(policy.Window)
	contents := keyring.Contents{"public": {"00": []byte("pub")}, "private": {"00": []byte("priv")}}
	publish := func(deadline time.Time) {
		t.Helper()
		if err := n.Publish(ctx, epoch, deadline, contents); err != nil {
			t.Fatal(err)
		}
	}
	expiries := func(want time.Time) {
		t.Helper()
		keys, err := client.Keys(ctx, "*").Result()
		if err != nil || len(keys) != 2 {
			t.Fatalf("keys %q, %v", keys, err)
		}
		for _, key := range keys {
			at, err := client.PExpireTime(ctx, key).Result()
			if err != nil || at.Milliseconds() != want.UnixMilli() {
				t.Fatalf("%s expires at %v, want %v (%v)", key, at, want, err)
			}
		}
	}
	publish(deadline)
	expiries(deadline)
	publish(deadline.Add(time.Hour)) // never extended
	expiries(deadline)
	publish(deadline.Add(-5 * time.Second)) // shortened
	expiries(deadline.Add(-5 * time.Second))
}
