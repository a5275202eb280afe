package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"mayfly/retention/keyring"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

func claim(t *testing.T, s store.Store, key keyring.Public, shard uint32, owner string) store.Claim {
	t.Helper()
	c, err := s.Claim(context.Background(), seal.Place{Epoch: key.Epoch, Key: key.ID, View: seal.ByAddress, Shard: shard}, key.Deadline, owner)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, s store.Store, c store.Claim, names ...string) {
	t.Helper()
	var blocks []store.Block
	for _, name := range names {
		blocks = append(blocks, store.Block{Name: name, Bytes: []byte("block " + name)})
	}
	if err := s.Put(context.Background(), c, blocks); err != nil {
		t.Fatal(err)
	}
}

func head(t *testing.T, s store.Store, p seal.Place) store.Head {
	t.Helper()
	chunks, err := s.Chunks(context.Background(), []seal.Place{p})
	if err != nil || len(chunks) != 1 {
		t.Fatalf("%d chunks, %v", len(chunks), err)
	}
	return chunks[0].Head
}

func testGenerations(t *testing.T, s store.Store) {
	ctx := context.Background()
	key := keyOf(t, 40)
	first := claim(t, s, key, 17, "a")
	if h := head(t, s, first.Place); h.Bytes != nil {
		t.Fatalf("a head before any flip: %v", h)
	}
	put(t, s, first, "x", "y")
	if err := s.Flip(ctx, first, []byte("one \x00"), []string{"x", "y"}); err != nil {
		t.Fatal(err)
	}
	if h := head(t, s, first.Place); string(h.Bytes) != "one \x00" || h.Generation != first.Generation {
		t.Fatalf("head %q of generation %d", h.Bytes, h.Generation)
	}
	second := claim(t, s, key, 17, "b")
	if second.Generation <= first.Generation {
		t.Fatalf("generation %d after %d", second.Generation, first.Generation)
	}
	put(t, s, second, "x")
	if err := s.Flip(ctx, second, []byte("two"), []string{"x", "z"}); err == nil {
		t.Fatal("a head names a block that is not there")
	}
	if h := head(t, s, first.Place); string(h.Bytes) != "one \x00" {
		t.Fatal("a refused flip has changed the head")
	}
	if err := s.Flip(ctx, second, []byte("two"), []string{"x"}); err != nil {
		t.Fatal(err)
	}
	neighbour := claim(t, s, key, 18, "a")
	put(t, s, neighbour, "n")
	taken := store.Head{Generation: second.Generation, Bytes: []byte("taken back")}
	if err := s.Tidy(ctx, second.Place, taken); !errors.Is(err, store.ErrClaimed) {
		t.Fatalf("tidied for a generation that is not the current one: %v", err)
	}
	if blocks, err := s.Blocks(ctx, []store.BlockRef{{Place: first.Place, Generation: first.Generation, Name: "x"}}); err != nil || blocks[0] == nil {
		t.Fatalf("a block is gone for a generation that is not the current one: %v", err)
	}
	if err := s.Tidy(ctx, second.Place, head(t, s, second.Place)); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ref := range []store.BlockRef{
		{Place: first.Place, Generation: first.Generation, Name: "x"},
		{Place: first.Place, Generation: second.Generation, Name: "x"},
		{Place: neighbour.Place, Generation: neighbour.Generation, Name: "n"},
		{Place: first.Place, Generation: second.Generation, Name: "y"},
	} {
		blocks, err := s.Blocks(ctx, []store.BlockRef{ref})
		if err != nil || len(blocks) != 1 {
			t.Fatalf("%d blocks, %v", len(blocks), err)
		}
		got = append(got, string(blocks[0]))
	}
	if want := []string{"", "block x", "block n", ""}; !slices.Equal(got, want) {
		t.Fatalf("blocks %q, want %q", got, want)
	}
	if err := s.Unlink(ctx, key.Epoch, []keyring.Public{key}); err != nil {
		t.Fatal(err)
	}
	if h := head(t, s, first.Place); h.Bytes != nil {
		t.Fatal("unlink leaves a head")
	}
}

func testClaims(t *testing.T, s store.Store) {
	ctx := context.Background()
	key := keyOf(t, 2)
	first := claim(t, s, key, 0, "a")
	if _, err := s.Claim(ctx, first.Place, key.Deadline, "b"); !errors.Is(err, store.ErrClaimed) {
		t.Fatalf("claimed twice: %v", err)
	}
	second := claim(t, s, key, 0, "a") // its owner begins anew
	if err := s.Put(ctx, first, []store.Block{{Name: "x", Bytes: []byte("late")}}); !errors.Is(err, store.ErrClaimed) {
		t.Fatalf("a put under an old claim: %v", err)
	}
	if err := s.Flip(ctx, first, []byte("late"), nil); !errors.Is(err, store.ErrClaimed) {
		t.Fatalf("a flip under an old claim: %v", err)
	}
	forged := second
	forged.Owner = "b"
	if err := s.Flip(ctx, forged, []byte("forged"), nil); !errors.Is(err, store.ErrClaimed) {
		t.Fatalf("a flip by another: %v", err)
	}
	if h := head(t, s, first.Place); h.Bytes != nil {
		t.Fatal("a refused flip has made a head")
	}
	if err := s.Flip(ctx, second, []byte("head"), nil); err != nil {
		t.Fatal(err)
	}
	third := claim(t, s, key, 0, "b") // a flip ends the claim
	if err := s.Release(ctx, third); err != nil {
		t.Fatal(err)
	}
	claim(t, s, key, 0, "a")
	if err := s.Release(ctx, third); !errors.Is(err, store.ErrClaimed) {
		t.Fatalf("another's claim is released: %v", err)
	}
}

func testGenerationsPastDeadline(t *testing.T, s store.Store) {
	ctx := context.Background()
	policy := policyOf(t, 2*time.Second)
	key := Key(t, policy.EpochAt(time.Now()), policy.Window, 2)
	c := claim(t, s, key, 0, "a")
	put(t, s, c, "x")
	time.Sleep(time.Until(key.Deadline) + 5*time.Millisecond)
	if err := s.Put(ctx, c, []store.Block{{Name: "y", Bytes: []byte("y")}}); !errors.Is(err, keyring.ErrDestroyed) {
		t.Errorf("a put past the deadline: %v", err)
	}
	if err := s.Flip(ctx, c, []byte("head"), nil); !errors.Is(err, keyring.ErrDestroyed) {
		t.Errorf("a flip past the deadline: %v", err)
	}
	if _, err := s.Claim(ctx, c.Place, key.Deadline, "a"); !errors.Is(err, keyring.ErrDestroyed) {
		t.Errorf("a claim past the deadline: %v", err)
	}
	if h := head(t, s, c.Place); h.Bytes != nil {
		t.Error("a head past the deadline")
	}
}

func testRemove(t *testing.T, s store.Store) {
	ctx := context.Background()
	key := keyOf(t, 1)
	w := Writer(t, key)
	var frames []seal.Frame
	for range 3 {
		frames = append(frames, appendOne(t, s, key, w, "frame")...)
	}
	if err := s.Append(ctx, key.Deadline, frames[1:2], w.Seal(seal.Manifest, 0, nil)); err != nil { // a repeat
		t.Fatal(err)
	}
	place := frames[0].Place
	c := claim(t, s, key, place.Shard, "a")
	if err := s.Flip(ctx, c, []byte("head"), nil); err != nil {
		t.Fatal(err)
	}
	current := head(t, s, place)
	for _, other := range []store.Head{{}, {Generation: current.Generation, Bytes: []byte("taken back")}, {Generation: current.Generation + 1, Bytes: current.Bytes}} {
		if _, err := s.Remove(ctx, place, other, map[seal.WriterID]uint64{frames[0].Writer: 2}); !errors.Is(err, store.ErrClaimed) || len(chunk(t, s, place)) != 4 {
			t.Fatalf("frames are removed that no generation covers: %v", err)
		}
	}
	second := appendOne(t, s, key, Writer(t, key), "another's")[0].Writer
	for range 2 {
		if n, err := s.Remove(ctx, place, current, map[seal.WriterID]uint64{frames[0].Writer: 2}); err != nil || n != 2 {
			t.Fatalf("%d frames are left, want 2; %v", n, err)
		}
	}
	left := chunk(t, s, place)
	if len(left) != 2 || left[0] != string(frames[2].Bytes()) {
		t.Fatalf("%d frames are left, want the third and another writer's", len(left))
	}
	for from, want := range []int{2, 1, 0} {
		if some, err := s.Frames(ctx, place, from, 9); err != nil || len(some.Frames) != want || want == 2 && string(some.Frames[0].Bytes()) != left[0] || some.Head.Generation != current.Generation {
			t.Fatalf("%d frames from %d on, want %d; %v", len(some.Frames), from, want, err)
		}
	}
	if some, err := s.Frames(ctx, place, 0, 1); err != nil || len(some.Frames) != 1 {
		t.Fatalf("%d frames, want 1; %v", len(some.Frames), err)
	}
	if n, err := s.Remove(ctx, place, current, map[seal.WriterID]uint64{frames[0].Writer: 9, second: 9}); err != nil || n != 0 {
		t.Fatalf("%d frames are left, %v", n, err)
	}
	for i := range 300 { // many of one that stays, and long sequences
		appendOne(t, s, key, w, strings.Repeat("x", 3000+i))
	}
	if n, err := s.Remove(ctx, place, current, map[seal.WriterID]uint64{frames[0].Writer: 200, second: 1 << 60}); err != nil || n != 103 {
		t.Fatalf("%d frames are left, want 103; %v", n, err)
	}
	if left := chunk(t, s, place); len(left) != 103 {
		t.Fatalf("%d frames, want 103", len(left))
	}
}
