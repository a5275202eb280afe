// Package storetest is the conformance suite of store.Store. Every
// implementation runs it.
package storetest

import (
	"context"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
	"mayfly/retention/store"
)

// Key draws the key of an epoch that lives for the given window.
func Key(t testing.TB, epoch retention.Epoch, window time.Duration, shards uint32) keyring.Public {
	t.Helper()
	public, _, err := seal.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return keyring.Public{
		Epoch: epoch, ID: seal.KeyID{1, byte(shards)}, Deadline: epoch.Deadline(window), Key: public, Shards: shards,
	}
}

// Writer makes a writer of key.
func Writer(t testing.TB, key keyring.Public) *seal.Writer {
	t.Helper()
	w, err := seal.NewWriter(key.Epoch, key.ID, key.Key)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Run checks one implementation; each case gets a store of its own.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store){
		"what is appended is read back in order": testAppend,
		"directory of an epoch":                  testDirectory,
		"everything dies at its deadline":        testDeadline,
		"nothing of a dead epoch comes back":     testPastDeadline,
		"unlink leaves nothing":                  testUnlink,
		"check":                                  testCheck,
		"a generation is flipped whole":          testGenerations,
		"one compactor at a time":                testClaims,
		"no generation past the deadline":        testGenerationsPastDeadline,
		"remove takes exactly the frames":        testRemove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// policyOf gives each case epochs of its own, so that cases can share a server.
func policyOf(t *testing.T, window time.Duration) retention.Policy {
	return retention.Policy{Name: fmt.Sprintf("case-%08x", crc32.ChecksumIEEE([]byte(t.Name()))), Window: window}
}

func keyOf(t *testing.T, shards uint32) keyring.Public {
	t.Helper()
	policy := policyOf(t, time.Hour)
	return Key(t, policy.EpochAt(time.Now()), policy.Window, shards)
}

func appendOne(t *testing.T, s store.Store, key keyring.Public, w *seal.Writer, payloads ...string) []seal.Frame {
	t.Helper()
	var frames []seal.Frame
	for i, payload := range payloads {
		frames = append(frames, w.Seal(seal.Views[i%2], uint32(i)%key.Shards, []byte(payload)))
	}
	manifest := w.Seal(seal.Manifest, 0, []byte("manifest"))
	if err := s.Append(context.Background(), key.Deadline, frames, manifest); err != nil {
		t.Fatal(err)
	}
	return frames
}

func chunk(t *testing.T, s store.Store, place seal.Place) []string {
	t.Helper()
	found, err := s.Chunks(context.Background(), []seal.Place{place})
	if err != nil || len(found) != 1 {
		t.Fatalf("%d chunks, %v", len(found), err)
	}
	var frames []string
	for i := range found[0].Frames {
		frames = append(frames, string(found[0].Frames[i].Bytes()))
	}
	return frames
}

func testAppend(t *testing.T, s store.Store) {
	key := keyOf(t, 1)
	w := Writer(t, key)
	var want []string
	for _, payload := range []string{"a", "b", "c"} {
		frames := appendOne(t, s, key, w, payload, "account")
		want = append(want, string(frames[0].Bytes()))
	}
	got := chunk(t, s, seal.Place{Epoch: key.Epoch, Key: key.ID, View: seal.ByAddress})
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Fatalf("%d frames came back, want %d, in order", len(got), len(want))
	}
	if none := chunk(t, s, seal.Place{Epoch: key.Epoch, Key: seal.KeyID{9}, View: seal.ByAddress}); len(none) != 0 {
		t.Fatalf("%d frames where none were written", len(none))
	}
}

func testDirectory(t *testing.T, s store.Store) {
	ctx := context.Background()
	key, other := keyOf(t, 3), keyOf(t, 5)
	for _, k := range []keyring.Public{key, other, key} {
		if err := s.Open(ctx, k); err != nil {
			t.Fatal(err)
		}
	}
	w, late := Writer(t, key), Writer(t, other)
	appendOne(t, s, key, w, "one")
	appendOne(t, s, key, w, "two")
	appendOne(t, s, other, late, "three")
	unused := retention.Epoch{Policy: "other", Start: key.Epoch.Start, Length: key.Epoch.Length}
	found, err := s.Directories(ctx, []retention.Epoch{unused, key.Epoch})
	if err != nil || len(found) != 2 {
		t.Fatalf("%d directories, %v", len(found), err)
	}
	if len(found[0].Keys) != 0 || len(found[0].Manifests) != 0 {
		t.Fatalf("an unused epoch has a directory: %v", found[0])
	}
	if d := found[1]; len(d.Keys) != 2 || d.Keys[key.ID] != 3 || d.Keys[other.ID] != 5 {
		t.Fatalf("keys %v", d.Keys)
	}
	latest := map[seal.WriterID]uint64{}
	for _, m := range found[1].Manifests {
		latest[m.Writer] = m.Sequence
	}
	if len(latest) != 2 || latest[w.Wrap().Writer] != 2 || latest[late.Wrap().Writer] != 1 {
		t.Fatalf("manifests %v: want the latest of each writer", latest)
	}
}

func testDeadline(t *testing.T, s store.Store) {
	ctx := context.Background()
	second := policyOf(t, 2*time.Second)
	key := Key(t, second.EpochAt(time.Now()), second.Window, 2)
	if err := s.Open(ctx, key); err != nil {
		t.Fatal(err)
	}
	appendOne(t, s, key, Writer(t, key), "x", "y", "z")
	place := seal.Place{Epoch: key.Epoch, Key: key.ID, View: seal.ByAddress}
	if len(chunk(t, s, place)) == 0 && time.Now().Before(key.Deadline) {
		t.Fatal("it was never there")
	}
	time.Sleep(time.Until(key.Deadline) + 5*time.Millisecond)
	if left := chunk(t, s, place); len(left) != 0 {
		t.Fatalf("%d frames past the deadline", len(left))
	}
	if d, err := s.Directories(ctx, []retention.Epoch{key.Epoch}); err != nil || len(d[0].Keys)+len(d[0].Manifests) != 0 {
		t.Fatalf("a directory past the deadline: %v, %v", d, err)
	}
}

func testPastDeadline(t *testing.T, s store.Store) {
	policy := policyOf(t, time.Hour)
	old := policy.EpochAt(time.Now().Add(-2 * policy.Window))
	key := Key(t, old, policy.Window, 1)
	w := Writer(t, key)
	manifest := w.Seal(seal.Manifest, 0, nil)
	frame := w.Seal(seal.ByAddress, 0, []byte("late"))
	if err := s.Append(context.Background(), key.Deadline, []seal.Frame{frame}, manifest); err != nil {
		t.Fatal(err)
	}
	if left := chunk(t, s, frame.Place); len(left) != 0 {
		t.Fatal("a dead epoch took a frame")
	}
}

func testUnlink(t *testing.T, s store.Store) {
	ctx := context.Background()
	key := keyOf(t, 400)
	if err := s.Open(ctx, key); err != nil {
		t.Fatal(err)
	}
	payloads := make([]string, 800)
	frames := appendOne(t, s, key, Writer(t, key), payloads...)
	for range 2 {
		if err := s.Unlink(ctx, key.Epoch, nil); err != nil {
			t.Fatal(err)
		}
	}
	for i := range frames {
		if left := chunk(t, s, frames[i].Place); len(left) != 0 {
			t.Fatalf("%d frames left at %v", len(left), frames[i].Place)
		}
	}
	if d, err := s.Directories(ctx, []retention.Epoch{key.Epoch}); err != nil || len(d[0].Keys) != 0 {
		t.Fatalf("the directory is left: %v, %v", d, err)
	}
}

func testCheck(t *testing.T, s store.Store) {
	first, err := s.Check(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Check(context.Background())
	if err != nil || first.Identity != second.Identity {
		t.Fatalf("identity %q, then %q, %v", first.Identity, second.Identity, err)
	}
	if first.Ahead > time.Second || first.Ahead < -time.Second {
		t.Fatalf("a clock of this machine is %v ahead", first.Ahead)
	}
}
