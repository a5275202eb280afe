package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"mayfly/retention"
)

var testEpoch = retention.Epoch{Policy: "default", Start: 1_763_775_000_000, Length: 900_000}

func testPair(t testing.TB) (*Writer, *Reader) {
	t.Helper()
	public, private, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(testEpoch, KeyID{1}, public)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(testEpoch, KeyID{1}, private, w.Wrap())
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}

func TestOpenAndResealIsTheIdentity(t *testing.T) {
	t.Parallel()
	w, r := testPair(t)
	for i := range 300 {
		payload := bytes.Repeat([]byte{byte(i)}, i)
		f := w.Seal(ByAccount, 7, payload)
		if f.Sequence != uint64(i+1) {
			t.Fatalf("frame %d has sequence %d", i+1, f.Sequence)
		}
		stored, err := ParseFrame(f.Place, f.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		opened, err := r.Open(&stored)
		if err != nil || !bytes.Equal(opened, payload) {
			t.Fatalf("opening frame %d: %v", i, err)
		}
		again := w.seal(stored.Place, stored.Sequence, opened)
		if !bytes.Equal(again.Bytes(), f.Bytes()) {
			t.Fatalf("re-sealing frame %d gives other bytes", i)
		}
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	t.Parallel()
	w, r := testPair(t)
	f := w.Seal(ByAddress, 3, []byte("twenty bytes of rows"))
	for bit := range 8 * len(f.Bytes()) {
		stored := bytes.Clone(f.Bytes())
		stored[bit/8] ^= 1 << (bit % 8)
		damaged, err := ParseFrame(f.Place, stored)
		if err == nil {
			_, err = r.Open(&damaged)
		}
		if !errors.Is(err, ErrOpen) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
	}
	for n := range f.Bytes() {
		damaged, err := ParseFrame(f.Place, f.Bytes()[:n])
		if err == nil {
			_, err = r.Open(&damaged)
		}
		if !errors.Is(err, ErrOpen) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestAFrameOpensOnlyInItsPlace(t *testing.T) {
	t.Parallel()
	w, r := testPair(t)
	f := w.Seal(ByAddress, 3, []byte("rows"))
	elsewhere := map[string]func(p *Place){
		"policy": func(p *Place) { p.Epoch.Policy = "other" },
		"epoch":  func(p *Place) { p.Epoch.Start += p.Epoch.Length },
		"length": func(p *Place) { p.Epoch.Length *= 2 },
		"key":    func(p *Place) { p.Key[7]++ },
		"view":   func(p *Place) { p.View = ByAccount },
		"shard":  func(p *Place) { p.Shard++ },
	}
	for name, move := range elsewhere {
		place := f.Place
		move(&place)
		moved, err := ParseFrame(place, f.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		anywhere := *r // the reader's own check aside: the seal itself must hold
		anywhere.epoch, anywhere.key = place.Epoch, place.Key
		if _, err := anywhere.Open(&moved); !errors.Is(err, ErrOpen) {
			t.Errorf("moved to another %s: %v", name, err)
		}
	}
}

func TestAnotherKeyOpensNothing(t *testing.T) {
	t.Parallel()
	w, _ := testPair(t)
	_, other, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(testEpoch, KeyID{1}, other, w.Wrap())
	if err != nil {
		return // refused at the wrap already
	}
	f := w.Seal(ByAddress, 0, []byte("rows"))
	if _, err := r.Open(&f); !errors.Is(err, ErrOpen) {
		t.Fatalf("a stranger's key: %v", err)
	}
}

// TestVectors holds the format still: frames written by earlier builds open.
func TestVectors(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string][]byte{}
	for line := range strings.Lines(string(file)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if fields[name], err = hex.DecodeString(value); err != nil {
			t.Fatal(err)
		}
	}
	private, err := ParsePrivateKey(fields["private"])
	if err != nil {
		t.Fatal(err)
	}
	wrap := Wrap{Writer: WriterID(fields["writer"]), Encapsulated: fields["encapsulated"]}
	r, err := NewReader(testEpoch, KeyID(fields["key"]), private, wrap)
	if err != nil {
		t.Fatal(err)
	}
	place := Place{Epoch: testEpoch, Key: KeyID(fields["key"]), View: ByAddress, Shard: 258}
	f, err := ParseFrame(place, fields["frame"])
	if err != nil {
		t.Fatal(err)
	}
	payload, err := r.Open(&f)
	if err != nil || !bytes.Equal(payload, fields["payload"]) {
		t.Fatalf("opening the vector: %q, %v", payload, err)
	}
	w := &Writer{epoch: testEpoch, key: place.Key, wrap: wrap, frames: r.frames}
	again := w.seal(place, f.Sequence, payload)
	if !bytes.Equal(again.Bytes(), fields["frame"]) {
		t.Fatal("sealing the vector's payload gives other bytes")
	}
}

func FuzzParseFrame(f *testing.F) {
	w, r := testPair(f)
	sealed := w.Seal(ByAddress, 1, []byte("rows"))
	f.Add(sealed.Bytes())
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, stored []byte) {
		frame, err := ParseFrame(sealed.Place, stored)
		if err != nil {
			return
		}
		if _, err := r.Open(&frame); err == nil && !bytes.Equal(stored, sealed.Bytes()) {
			t.Fatal("opened a frame that was never sealed")
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	w, _ := testPair(b)
	payload := make([]byte, 4096)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		w.Seal(ByAddress, 1, payload)
	}
}

func BenchmarkOpen(b *testing.B) {
	w, r := testPair(b)
	f := w.Seal(ByAddress, 1, make([]byte, 4096))
	b.SetBytes(4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Open(&f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewWriter(b *testing.B) {
	public, _, err := GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := NewWriter(testEpoch, KeyID{1}, public); err != nil {
			b.Fatal(err)
		}
	}
}
