package lookup

import (
	"context"
	"slices"

	"mayfly/retention/record"
	"mayfly/retention/store"
)

// withoutCanaries is the IP log as handlers may see it. Canaries are stored,
// found and purged like any connection; here alone they are left out, before
// anything is counted or matched.
type withoutCanaries struct {
	Log
	isCanary func(r *record.Record) bool
}

// Find implements Log. Canaries take no room in a limit: where some were cut off
// with others, it asks for as many more.
func (w withoutCanaries) Find(ctx context.Context, q store.Query) (store.Answer, error) {
	limit := q.Limit
	for {
		answer, err := w.Log.Find(ctx, q)
		if err != nil {
			return store.Answer{}, err
		}
		before := len(answer.Records)
		answer.Records = slices.DeleteFunc(answer.Records, func(r record.Record) bool { return w.isCanary(&r) })
		if limit > 0 && len(answer.Records) > limit {
			answer.Records, answer.Truncated = answer.Records[:limit], true
		}
		if !answer.Truncated || len(answer.Records) == limit || before == len(answer.Records) {
			return answer, nil
		}
		q.Limit += before - len(answer.Records)
	}
}
