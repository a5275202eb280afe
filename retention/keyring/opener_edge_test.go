package keyring

import (
	"encoding/binary"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/seal"
)

// Whoever may write to the topic makes wraps without end; what is kept of them is bounded.
func TestReadersOfForeignWrapsAreBounded(t *testing.T) {
	t.Parallel()
	r := read(t, NewMemoryNode("a"))
	policy := retention.Policy{Name: "web", Window: time.Hour, Epoch: time.Minute}
	epoch := policy.EpochAt(time.Now())
	minted, err := r.ring.Mint(t.Context(), epoch, epoch.Deadline(policy.Window), r.kek, func() uint32 { return 1 }, func(Public) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	public := minted[0]
	keys, err := r.Keys(t.Context(), epoch, public.ID)
	if err != nil {
		t.Fatal(err)
	}
	key := keys[0]
	wrap := func() seal.Wrap {
		writer, err := seal.NewWriter(epoch, public.ID, public.Key)
		if err != nil {
			t.Fatal(err)
		}
		return writer.Wrap()
	}
	first := wrap()
	known, err := r.EdgeReader(key, first)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.EdgeReader(key, first); err != nil || again != known {
		t.Errorf("a reader that is known was made anew, %v", err)
	}
	for i := range uint32(maxEdgeReaders - 1) { // as if that many had come: making them takes a second
		var id seal.WrapID
		binary.BigEndian.PutUint32(id[:], i)
		key.edge[id] = known
	}
	if _, err := r.EdgeReader(key, wrap()); err != nil || len(key.edge) > maxEdgeReaders {
		t.Errorf("%d readers are kept, %v", len(key.edge), err)
	}
	if _, err := r.EdgeReader(key, first); err != nil {
		t.Errorf("one that was dropped is not made again: %v", err)
	}
}
