package store_test

import (
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/store"
	"mayfly/retention/tally"
)

// Events whose deadline came before they could be sealed are said with what lives now.
func TestWhatComesDueBeforeItIsSealedIsTallied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newSystem(t, store.NewMemory())
		_, batches := y.events(1, 50)
		time.Sleep(2 * y.policy.Window)
		y.mint(t)
		y.write(t, batches)
		y.write(t, nil)
		sum, err := y.reader.Tally(t.Context(), y.policy.EpochAt(time.Now()))
		if err != nil || sum.Counts != (tally.Counts{Expired: 50}) {
			t.Errorf("tallied %+v, %v", sum.Counts, err)
		}
	})
}
