package lookup

import (
	"context"
	"slices"
	"strings"
	"testing"

	"mayfly/retention/record"
	"mayfly/retention/store"
)

// rows is a log of accounts, in order, that knows limits.
type rows []string

func (r rows) Find(_ context.Context, q store.Query) (store.Answer, error) {
	a := store.Answer{Complete: true}
	for _, account := range r {
		if q.Limit > 0 && len(a.Records) == q.Limit {
			a.Truncated = true
			break
		}
		a.Records = append(a.Records, record.Record{Account: account})
	}
	return a, nil
}

func TestCanariesAreLeftOut(t *testing.T) {
	t.Parallel()
	isCanary := func(r *record.Record) bool { return strings.HasPrefix(r.Account, "canary") }
	log := withoutCanaries{rows{"canary1", "canary2", "ada", "canary3", "bob", "eve", "canary4"}, isCanary}
	for limit, want := range map[int][]string{0: {"ada", "bob", "eve"}, 1: {"ada"}, 2: {"ada", "bob"}, 3: {"ada", "bob", "eve"}, 9: {"ada", "bob", "eve"}} {
		a, err := log.Find(t.Context(), store.Query{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range a.Records {
			got = append(got, r.Account)
		}
		if !slices.Equal(got, want) || !a.Complete {
			t.Errorf("limit %d: %v", limit, got)
		}
		if a.Truncated != (limit == 1 || limit == 2) { // what follows the third is a canary
			t.Errorf("limit %d: truncated %v", limit, a.Truncated)
		}
	}
}
