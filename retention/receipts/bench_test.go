package receipts

import (
	"testing"
	"time"
)

// One look-up after the other: what a handler waits for the receipt.
func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		if _, err := l.Append(b.Context(), sample()); err != nil {
			b.Fatal(err)
		}
	}
}

// Many at once share a commit.
func BenchmarkAppendParallel(b *testing.B) {
	l, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Append(b.Context(), sample()); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	e := &Looked{ID: "ABC", Lookup: sample()}
	e.stamp(time.Now())
	text, err := Marshal(e)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
