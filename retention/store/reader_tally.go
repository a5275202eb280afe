package store

import (
	"context"
	"fmt"

	"mayfly/retention"
	"mayfly/retention/tally"
)

// Tally is what the writers of a living epoch say that they have read for it and
// stored, be it hot or cold by now. An error: nothing can be said.
func (r *Reader) Tally(ctx context.Context, epoch retention.Epoch) (tally.Sum, error) {
	s := &search{Reader: r, complete: true}
	directories, err := r.store.Directories(ctx, []retention.Epoch{epoch})
	if err != nil {
		return tally.Sum{}, fmt.Errorf("reading the tally: %w", err)
	}
	d := &directories[0]
	keys, err := r.keys.Keys(ctx, epoch, d.written()...)
	if err != nil {
		return tally.Sum{}, fmt.Errorf("reading the tally: %w", err)
	}
	s.judge(d, keys)
	var said []*tally.Tally
	for _, m := range s.manifests(ctx, *d, keys) {
		t, err := tally.Parse(m.tally)
		if err != nil {
			s.incomplete()
			continue
		}
		said = append(said, t)
	}
	sum := tally.Merge(said)
	sum.Partial = sum.Partial || !s.complete
	return sum, nil
}

// Records is how many records the writers of an epoch claim to have written, those
// that were written twice counted twice.
func (r *Reader) Records(ctx context.Context, epoch retention.Epoch) (uint64, error) {
	s := &search{Reader: r, complete: true}
	directories, err := r.store.Directories(ctx, []retention.Epoch{epoch})
	if err != nil {
		return 0, err
	}
	keys, err := r.keys.Keys(ctx, epoch)
	if err != nil {
		return 0, err
	}
	var records uint64
	for _, m := range s.manifests(ctx, directories[0], keys) {
		records += m.records
	}
	return records, nil
}
