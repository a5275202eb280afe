package keyring

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// hung is a key-encryption key in an engine that takes its time.
type hung struct{ KEK }

func (h hung) Advance(now time.Time) error {
	time.Sleep(13 * time.Second)
	return h.KEK.Advance(now)
}

func TestAnEngineThatHangsHoldsUpNoKeysEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := read(t, NewMemoryNode("a"))
		r.Opener.kek = hung{r.kek}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		epoch := minute.EpochAt(time.Now())
		if err := mint(t, r.ring, r.kek, epoch); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Keys(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(epoch.Deadline(minute.Window)) + 1100*time.Millisecond)
		if r.Holds(epoch) {
			t.Error("a key is in memory a second after its deadline")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
