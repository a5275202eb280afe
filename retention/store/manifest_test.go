package store

import (
	"math"
	"runtime"
	"testing"

	"mayfly/retention/seal"
)

// A manifest is what a writer says, and a writer may lie: to doubt it must not cost the
// memory that so many frames would take. Not parallel, as it counts what is allocated.
func TestHoldsBelievesNoNumber(t *testing.T) {
	writer := seal.WriterID{1}
	frames := []seal.Frame{{Writer: writer, Sequence: 1}, {Writer: writer, Sequence: 2}, {Writer: writer, Sequence: 2}}
	for _, written := range []uint64{3, 1 << 24, math.MaxUint64} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if holds(frames, writer, 0, written) {
			t.Errorf("three frames are %d", written)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%d written: %d bytes allocated", written, after.TotalAlloc-before.TotalAlloc)
		}
	}
	if !holds(frames, writer, 0, 2) || !holds(frames, writer, 1, 2) || !holds(nil, writer, 2, 2) {
		t.Error("frames that are there are missed")
	}
}
