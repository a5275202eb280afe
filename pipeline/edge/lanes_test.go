package edge

import (
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/store"
)

// Two relays put an account's events of an epoch under one message key, and no key
// tells the account.
func TestAnAccountKeepsToItsLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first := newRig(t, func(c *Config) { c.Lanes = 3 })
		first.mint(t)
		second := newRig(t, func(c *Config) { c.Lanes = 3 })
		second.deps.Keys = first.ring
		lanes := map[string]string{}
		total := 0
		for _, r := range []*rig{first, second} {
			r.start(t)
			var d Delivery
			for range 3 {
				r.add(t, 0, 30, &d)
			}
			if err := d.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := r.stop(t); err != nil {
				t.Fatal(err)
			}
			all := r.topic.messages
			for i, key := range r.topic.keys {
				r.topic.messages = all[i : i+1]
				opened := &rig{topic: r.topic, ring: first.ring, kek: first.kek, memory: store.NewMemory(), policy: r.policy}
				keys, _ := first.ring.Public(t.Context(), r.policy.EpochAt(time.Now()))
				_ = opened.memory.Open(t.Context(), keys[0])
				for _, epoch := range r.policy.Live(time.Now()) {
					keys, _ := first.ring.Public(t.Context(), epoch)
					_ = opened.memory.Open(t.Context(), keys[0])
				}
				for _, record := range opened.found(t) {
					total++
					if before := lanes[record.Account]; before != "" && before != string(key) {
						t.Fatal("an account has two lanes")
					}
					lanes[record.Account] = string(key)
				}
			}
		}
		if total != 180 || len(lanes) != 30 {
			t.Fatalf("%d events of %d accounts", total, len(lanes))
		}
	})
}
