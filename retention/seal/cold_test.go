package seal

import (
	"bytes"
	"errors"
	"testing"
)

func TestAColdPartOpensOnlyAsItself(t *testing.T) {
	t.Parallel()
	_, private, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	c, err := private.Cold()
	if err != nil {
		t.Fatal(err)
	}
	place := Place{Epoch: testEpoch, Key: KeyID{1}, View: ByAddress, Shard: 3}
	g, err := c.Generation(place, 5)
	if err != nil {
		t.Fatal(err)
	}
	head, block := g.Seal(0, []byte("head")), g.Seal(1, []byte("block"))
	opened, payload, err := c.OpenGeneration(place, 5, head)
	if err != nil || !bytes.Equal(payload, []byte("head")) {
		t.Fatalf("opening the head: %q, %v", payload, err)
	}
	if payload, err := opened.Open(1, block); err != nil || !bytes.Equal(payload, []byte("block")) {
		t.Fatalf("opening the block: %q, %v", payload, err)
	}
	if _, err := opened.Open(2, block); !errors.Is(err, ErrOpen) {
		t.Error("a block opens as another")
	}
	again, err := c.Generation(place, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Open(1, block); !errors.Is(err, ErrOpen) {
		t.Error("a block opens in a generation of the same number")
	}
	if _, _, err := c.OpenGeneration(place, 6, head); !errors.Is(err, ErrOpen) {
		t.Error("a head opens as another generation's")
	}
	for name, move := range map[string]func(*Place){
		"policy": func(p *Place) { p.Epoch.Policy = "other" },
		"epoch":  func(p *Place) { p.Epoch.Start++ },
		"key":    func(p *Place) { p.Key[0]++ },
		"view":   func(p *Place) { p.View = ByAccount },
		"shard":  func(p *Place) { p.Shard++ },
	} {
		moved := place
		move(&moved)
		if _, _, err := c.OpenGeneration(moved, 5, head); !errors.Is(err, ErrOpen) {
			t.Errorf("a head opens in another %s", name)
		}
	}
	for bit := range 8 * len(block) {
		damaged := bytes.Clone(block)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := opened.Open(1, damaged); !errors.Is(err, ErrOpen) {
			t.Fatalf("bit %d flipped, and it opens", bit)
		}
	}
	_, stranger, _ := GenerateKey()
	other, err := stranger.Cold()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.OpenGeneration(place, 5, head); !errors.Is(err, ErrOpen) {
		t.Error("another epoch's key opens it")
	}
}
