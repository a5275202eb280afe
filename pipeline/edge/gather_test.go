package edge

import (
	"slices"
	"testing"

	"mayfly/retention/record"
)

// A batch grows as events come; no address stays behind in what it outgrew.
func TestABatchOutgrowsNothingThatItHolds(t *testing.T) {
	t.Parallel()
	var records []record.Record
	var outgrown [][]record.Record
	for i := range 1000 {
		before := records
		records = appendErasing(records, record.Record{Time: int64(i), Account: "ada"})
		if len(before) > 0 && &before[0] != &records[0] {
			outgrown = append(outgrown, before)
		}
	}
	if len(outgrown) < 3 {
		t.Fatalf("it grew %d times", len(outgrown))
	}
	for _, before := range outgrown {
		if slices.ContainsFunc(before, func(r record.Record) bool { return r.Account != "" }) {
			t.Errorf("%d records are left behind", len(before))
		}
	}
	for i, r := range records {
		if r.Time != int64(i) {
			t.Fatalf("record %d is that of %d", i, r.Time)
		}
	}
}
