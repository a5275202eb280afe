package store

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"mayfly/retention/record"
)

// Whatever the order in which records come, and however often: of more than the limit the
// earliest are kept, and no more memory than they need.
func TestFindingsKeepTheEarliest(t *testing.T) {
	t.Parallel()
	const n, limit = 20_000, 300
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]record.Record, n)
	for i := range all {
		all[i] = record.Record{ID: record.ID{Offset: int64(i)}, Time: int64(i / 3), Account: fmt.Sprint("user", i)}
	}
	for name, order := range map[string]func([]record.Record){
		"ascending":  func([]record.Record) {},
		"descending": slices.Reverse[[]record.Record],
		"any":        func(of []record.Record) { r.Shuffle(n, func(i, j int) { of[i], of[j] = of[j], of[i] }) },
	} {
		come := slices.Clone(all)
		order(come)
		long, short := source{deadline: time.Now().Add(time.Hour)}, source{deadline: time.Now().Add(time.Minute)}
		f := findings{limit: limit}
		for _, from := range []*source{&long, &short} {
			for i := range come {
				f.add(&come[i], from)
				if f.hits.n > limit+1<<10 || len(f.at) != f.hits.n {
					t.Fatalf("%s: %d records are kept for a limit of %d", name, f.hits.n, limit)
				}
			}
		}
		for i, at := range f.sorted()[:limit] {
			if h := f.hits.at(at); h.record.ID != all[i].ID || h.record.Account != all[i].Account || h.from != &short {
				t.Fatalf("%s: %d is record %d, of the key that dies first: %v", name, i, h.record.ID.Offset, h.from == &short)
			}
		}
		if f.cut == nil {
			t.Fatalf("%s: nothing says that records were dropped", name)
		}
		if last := f.cut.Time; f.beyond(last) || !f.beyond(last+1) || (&findings{limit: limit}).beyond(last) {
			t.Errorf("%s: what is wanted of an epoch is misjudged", name)
		}
	}
	f := findings{limit: n}
	for i := range all {
		f.add(&all[i], &source{})
	}
	if f.hits.n != n || f.cut != nil {
		t.Errorf("%d records of %d, no more than the limit, are kept", f.hits.n, n)
	}
}
