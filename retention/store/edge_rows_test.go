package store

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention"
	"mayfly/retention/record"
	"mayfly/retention/seal"
)

// edgePayload is a frame of three segments under two wraps, the second of which the
// chunk has already.
func edgePayload() ([]byte, []edgeRow) {
	batch := func(topic byte, offset int64, writer string) *EdgeBatch {
		wrap := seal.Wrap{Encapsulated: []byte(writer + " encapsulated")}
		copy(wrap.Writer[:], writer)
		return &EdgeBatch{Batch: seal.Batch{Wrap: wrap}, ID: record.ID{Topic: [16]byte{topic}, Partition: 3, Offset: offset}}
	}
	one, two := batch(1, 7, "one"), batch(2, 8, "two")
	rows := []edgeRow{
		{one, one.Wrap.ID(), []byte("first")}, {two, two.Wrap.ID(), []byte("second")}, {one, one.Wrap.ID(), nil},
	}
	return appendEdgeRows(nil, rows, func(wrap seal.WrapID) bool { return wrap == one.Wrap.ID() }), rows
}

func TestEdgeRowsComeBack(t *testing.T) {
	t.Parallel()
	payload, rows := edgePayload()
	var s segments
	if err := s.add(payload); err != nil || !isEdge(payload) {
		t.Fatal(err)
	}
	want := make([]segmentRow, len(rows))
	for i, r := range rows {
		want[i] = segmentRow{r.batch.ID, r.wrap, r.segment}
	}
	if diff := cmp.Diff(want, s.rows, cmp.AllowUnexported(segmentRow{}), cmp.Comparer(bytes.Equal)); diff != "" {
		t.Error(diff)
	}
	if wrap, there := s.wraps[rows[0].wrap]; len(s.wraps) != 1 || !there || wrap.ID() != rows[0].wrap {
		t.Errorf("%d wraps", len(s.wraps))
	}
	for n := range payload {
		if err := new(segments).add(payload[:max(n, 1)]); err == nil {
			t.Errorf("cut off after %d bytes it is taken", n)
		}
	}
	if err := new(segments).add(append(payload, 0)); err == nil {
		t.Error("what follows the rows is taken")
	}
}

// Counts are bounded by the bytes that are there, before room is made for them.
func TestEdgeRowsAreBoundedByTheirPayload(t *testing.T) {
	payload := append([]byte{edgeFormat, 0}, binary.AppendUvarint(nil, 1<<26)...) // 1 GB of wraps
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := new(segments).add(payload)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > 1<<20 {
		t.Errorf("%v, after %d bytes of memory", err, took)
	}
}

func FuzzEdgeRows(f *testing.F) {
	payload, _ := edgePayload()
	f.Add(payload)
	f.Add([]byte{edgeFormat, 1})
	f.Add(slices.Concat([]byte{edgeFormat, 0, 1, 0}, make([]byte, 16), []byte{1, 9, 0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if !isEdge(data) {
			return
		}
		var s segments
		_ = s.add(data)
		size := 0
		for _, r := range s.rows {
			size += 5 + len(r.segment)
		}
		if size > len(data) || len(s.wraps) > len(data)/17 {
			t.Fatalf("%d bytes of rows and %d wraps in %d bytes", size, len(s.wraps), len(data))
		}
	})
}

// A wrap may be in another frame of the chunk. Where that is lost, so are the events.
func TestASegmentWithoutItsWrapIsSaid(t *testing.T) {
	t.Parallel()
	payload, rows := edgePayload()
	found := &segments{}
	if err := found.add(payload); err != nil {
		t.Fatal(err)
	}
	found.rows = slices.DeleteFunc(found.rows, func(r segmentRow) bool { return r.wrap == rows[0].wrap })
	s := &search{complete: true}
	err := s.openEdge(t.Context(), &chunk{}, found, func(record.ID, []byte) error {
		t.Error("it was opened")
		return nil
	})
	if err != nil || s.complete || s.refused != 0 {
		t.Errorf("complete %v, %d refused, %v", s.complete, s.refused, err)
	}
}

// An edge may say which of its batch's events a record is, and nothing else of what
// identifies it.
func TestAnEdgeDoesNotChooseIdentities(t *testing.T) {
	t.Parallel()
	epoch := retention.Epoch{Policy: "web", Start: 1000, Length: 1000}
	message := record.ID{Topic: [16]byte{9}, Partition: 1, Offset: 500}
	for name, test := range map[string]struct {
		id    record.ID
		taken bool
	}{
		"its place":          {record.ID{Offset: 7}, true},
		"the last place":     {record.ID{Offset: seal.MaxBatchEvents - 1}, true},
		"beyond a batch":     {record.ID{Offset: seal.MaxBatchEvents}, false},
		"beyond 32 bits":     {record.ID{Offset: 1 << 32}, false},
		"another topic":      {record.ID{Topic: [16]byte{1}}, false},
		"another partition":  {record.ID{Partition: 1}, false},
		"an index of events": {record.ID{Index: 1}, false},
	} {
		r := record.Record{ID: test.id, Time: 1500, Account: "ada", Event: "connect"}
		kept := adopt([]record.Record{r}, message, epoch)
		want := message
		want.Index = uint32(test.id.Offset)
		if len(kept) == 1 != test.taken || test.taken && kept[0].ID != want {
			t.Errorf("%s: kept %d", name, len(kept))
		}
	}
	long := record.Record{Time: 1500, Account: "ada", Client: strings.Repeat("c", maxText+1)}
	if len(adopt([]record.Record{long}, message, epoch)) != 0 {
		t.Error("a text that is too long is kept")
	}
}
