package seal

import (
	"bytes"
	"errors"
	"testing"

	"mayfly/retention"
)

// testBatch is a batch of three events over two shards per view, and what opens it.
func testBatch(t testing.TB) (Batch, *Reader) {
	t.Helper()
	w, r := testPair(t)
	b := Batch{Epoch: testEpoch, Key: KeyID{1}, Wrap: w.Wrap(), Events: 3}
	for _, view := range Views {
		for _, shard := range []uint32{2, 700} {
			b.Frames = append(b.Frames, w.Seal(view.AtEdge(), shard, []byte("three rows")))
		}
	}
	return b, r
}

func TestABatchComesBack(t *testing.T) {
	t.Parallel()
	b, r := testBatch(t)
	message := b.Append(nil)
	back, err := ParseBatch(message)
	if err != nil {
		t.Fatal(err)
	}
	if !IsBatch(message) || back.Epoch != b.Epoch || back.Key != b.Key || back.Wrap.ID() != b.Wrap.ID() ||
		back.Events != 3 || len(back.Frames) != 4 || !bytes.Equal(back.Append(nil), message) {
		t.Fatal("it comes back as another batch")
	}
	clear(message) // nothing refers to the message
	for i := range back.Frames {
		payload, err := r.Open(&back.Frames[i])
		if err != nil || string(payload) != "three rows" {
			t.Fatalf("opening frame %d: %v", i, err)
		}
	}
}

// Whoever changes a message on its way makes it no batch, or one of which what
// was changed does not open; the events that it declares are bounded.
func TestEveryFlippedBitOfABatchIsRefused(t *testing.T) {
	t.Parallel()
	b, _ := testBatch(t)
	public, private, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(b.Epoch, b.Key, public)
	if err != nil {
		t.Fatal(err)
	}
	b.Wrap, b.Events = w.Wrap(), 1
	b.Frames = []Frame{w.Seal(ByAddress.AtEdge(), 2, []byte("r")), w.Seal(ByAccount.AtEdge(), 5, []byte("r"))}
	message := b.Append(nil)
	head := len(message) - len(b.Frames[0].Segment()) - len(b.Frames[1].Segment())
	const events = 3 + 7 + 6 + 3 + 8 + 8 + 2 + encapsulatedLength // where the events are declared: they are counted by, no more
	if message[events] != 1 {
		t.Fatal("the number of events is elsewhere")
	}
	for bit := range 8 * len(message) {
		if bit/8 == events {
			continue
		}
		if bit/8 > 60 && bit/8 < head-20 && bit%61 != 0 {
			continue // the encapsulation: a sample of its bits will do
		}
		changed := bytes.Clone(message)
		changed[bit/8] ^= 1 << (bit % 8)
		back, err := ParseBatch(changed)
		if err != nil {
			continue
		}
		opened := 0
		if r, err := NewReader(back.Epoch, back.Key, private, back.Wrap); err == nil {
			for i := range back.Frames {
				if _, err := r.Open(&back.Frames[i]); err == nil {
					opened++
				}
			}
		}
		if opened == len(back.Frames) {
			t.Fatalf("byte %d of %d, bit %d: the batch is still genuine", bit/8, len(message), bit%8)
		}
	}
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	t.Parallel()
	good, _ := testBatch(t)
	message := good.Append(nil)
	for n := range message {
		if _, err := ParseBatch(message[:n]); !errors.Is(err, ErrBatch) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for name, change := range map[string]func(b *Batch){
		"reordered segments":           func(b *Batch) { b.Frames[0], b.Frames[1] = b.Frames[1], b.Frames[0] },
		"a segment twice":              func(b *Batch) { b.Frames[1] = b.Frames[0] },
		"one view only":                func(b *Batch) { b.Frames = b.Frames[:2] },
		"no events":                    func(b *Batch) { b.Events = 0 },
		"more events than it may have": func(b *Batch) { b.Events = MaxBatchEvents + 1 },
		"the view of manifests":        func(b *Batch) { b.Frames[0].Place.View = Manifest.AtEdge() },
		"a shard out of bounds":        func(b *Batch) { b.Frames[3].Place.Shard = 1 << 24 },
		"a policy that is none":        func(b *Batch) { b.Epoch.Policy = "Default" },
		"a start between two epochs":   func(b *Batch) { b.Epoch.Start++ },
		"an epoch without length":      func(b *Batch) { b.Epoch.Length = 0 },
		"another encapsulation":        func(b *Batch) { b.Wrap.Encapsulated = b.Wrap.Encapsulated[1:] },
		"an epoch before 1970":         func(b *Batch) { b.Epoch.Start = -b.Epoch.Length },
		"an epoch that has no policy":  func(b *Batch) { b.Epoch = retention.Epoch{Length: 1000} },
	} {
		b := good
		b.Frames = append([]Frame(nil), good.Frames...)
		change(&b)
		if _, err := ParseBatch(b.Append(nil)); !errors.Is(err, ErrBatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseBatch(append(message, 0)); !errors.Is(err, ErrBatch) {
		t.Errorf("a byte too many: %v", err)
	}
	w, _ := testPair(t)
	huge := Batch{Epoch: testEpoch, Wrap: w.Wrap(), Events: 1}
	for _, view := range Views {
		huge.Frames = append(huge.Frames, w.Seal(view.AtEdge(), 0, make([]byte, MaxBatch*2/3)))
	}
	if _, err := ParseBatch(huge.Append(nil)); !errors.Is(err, ErrBatch) {
		t.Errorf("a message out of bounds: %v", err)
	}
}

// What was sealed at the edge is no frame of the store, though the writer is known
// to the keyring and the place is right.
func TestASegmentIsNoStoredFrame(t *testing.T) {
	t.Parallel()
	b, r := testBatch(t)
	place := b.Frames[0].Place
	place.View = ByAddress
	stored, err := ParseFrame(place, b.Frames[0].Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Open(&stored); !errors.Is(err, ErrOpen) {
		t.Fatalf("opened as a stored frame: %v", err)
	}
}

func FuzzParseBatch(f *testing.F) {
	b, _ := testBatch(f)
	message := b.Append(nil)
	f.Add(message)
	f.Add(message[:len(message)/2])
	f.Add([]byte{batchMagic, batchVersion, 0})
	f.Add([]byte(`{"time":1,"account":"a","ip":"192.0.2.1"}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		b, err := ParseBatch(message)
		if err != nil {
			return
		}
		if b.Events < 1 || b.Events > MaxBatchEvents || !bytes.Equal(b.Append(nil), message) {
			t.Fatal("what was accepted has another spelling, or declares more than it may")
		}
	})
}
