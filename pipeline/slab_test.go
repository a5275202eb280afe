package pipeline

import (
	"testing"
	"time"

	"mayfly/pipeline/event"
	"mayfly/retention"
	"mayfly/retention/record"
)

// What a slab had is overwritten, not only forgotten. Not parallel: nobody else may use
// the memory that is looked at after it was given back.
func TestAnErasedSlabHasNothing(t *testing.T) {
	var s slab
	epoch := retention.Epoch{Policy: "day", Length: 1000}
	for i := range 1000 {
		s.add(&choice{epoch: epoch}, record.ID{Offset: int64(i)}, 1, &event.Event{Account: "ada", Session: "s1", Kind: "connect", Server: "edge-1"})
	}
	if n := s.batches[0].Events(); len(s.batches) != 1 || n != 1000 || s.bytes < 1000*record.RowSize {
		t.Fatalf("%d batches, the first of %d events, %d bytes", len(s.batches), n, s.bytes)
	}
	var texts []string
	for _, rows := range s.batches[0].Rows {
		for i := range rows.All() {
			r := rows.Record(i)
			texts = append(texts, r.Account, r.Session, r.Event, r.Server)
		}
	}
	s.erase()
	for _, text := range texts {
		for i := range len(text) {
			if text[i] != 0 {
				t.Errorf("%q is still there", text)
			}
		}
	}
	if len(s.batches) != 0 || s.bytes != 0 {
		t.Errorf("%d batches of %d bytes", len(s.batches), s.bytes)
	}
	s.add(&choice{epoch: epoch}, record.ID{Offset: 7}, 1, &event.Event{Account: "eve", Kind: "alive"})
	if r := s.batches[0].Rows[0].Record(0); r.Account != "eve" || r.Event != "alive" || r.ID.Offset != 7 {
		t.Error("the slab can't be used again")
	}
}

// Due or not is judged by epoch: each has a batch of its own.
func TestASlabSortsByEpoch(t *testing.T) {
	t.Parallel()
	var s slab
	for i := range 10 {
		epoch := retention.Epoch{Policy: "day", Start: int64(i%2) * 1000, Length: 1000}
		s.add(&choice{epoch: epoch, deadline: epoch.Start + 5000}, record.ID{Offset: int64(i)}, epoch.Start, &event.Event{Account: "ada"})
	}
	s.wipe(time.UnixMilli(5000))
	for i, want := range []string{"", "ada"} {
		if b := &s.batches[i]; b.Events() != 5 || b.Rows[0].Record(0).Account != want {
			t.Errorf("batch %d: %d events, account %q", i, b.Events(), b.Rows[0].Record(0).Account)
		}
	}
}
