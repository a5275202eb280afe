package record

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/address"
)

// byID are all records of a list of Rows, and where they are.
func byID(all []*Rows) map[ID]Place {
	places := map[ID]Place{}
	for n, rows := range all {
		for i := range rows.All() {
			places[rows.ID(i)] = PlaceOf(n, i)
		}
	}
	return places
}

func TestRowsAreTheRecords(t *testing.T) {
	t.Parallel()
	var e Encoder
	for n := 1; n < 4000; n = 3*n + 1 {
		records := randomRecords(uint64(n), n)
		records[0].Address = address.Address{}
		for i := range records {
			switch i % 7 {
			case 0:
				records[i].Account, records[i].Session = "", ""
			case 1:
				records[i].Client, records[i].Outcome = fmt.Sprint("client/", i), "ok" // more than a table has
			case 2:
				records[i].ID.Index = uint32(i)
				records[i].Server = strings.Repeat("s", i)
			}
		}
		all := RowsOf(records)
		places := make([]Place, n)
		found := byID(all)
		for i := range records {
			place, ok := found[records[i].ID]
			if !ok {
				t.Fatalf("record %d of %d is not there", i, n)
			}
			places[i] = place
			rows, at := all[place/unitsInBlock], int(place%unitsInBlock)
			if diff := cmp.Diff(records[i], rows.Record(at), exact); diff != "" || string(rows.Account(at)) != records[i].Account {
				t.Fatalf("record %d of %d (-want +got):\n%s", i, n, diff)
			}
		}
		picked := make([]*Record, n)
		for i := range records {
			picked[i] = &records[i]
		}
		if !bytes.Equal(e.AppendRows(nil, all, places), e.AppendRecords(nil, picked)) {
			t.Fatalf("%d rows are not written as the records are", n)
		}
	}
}

// What was erased is gone from the memory, and its number stays.
func TestWipedRowsAreEmpty(t *testing.T) {
	t.Parallel()
	records := randomRecords(1, 50)
	for _, rows := range RowsOf(records) {
		n := rows.Len()
		if *rows.block == (block{}) {
			t.Fatal("the rows are nowhere")
		}
		rows.Wipe()
		if *rows.block != (block{}) {
			t.Error("some of it is still there")
		}
		if r := rows.Record(0); rows.Len() != n || r.Account != "" || r.Address.IsValid() {
			t.Errorf("%d of %d records, the last one %q", rows.Len(), n, r.Account)
		}
	}
}

func TestRowsAreOfOnePartition(t *testing.T) {
	t.Parallel()
	rows := NewRows(ID{Partition: 1}, &Words{})
	for _, id := range []ID{{}, {Partition: 2}, {Topic: [16]byte{1}, Partition: 1}} {
		if _, ok := rows.Add(&Record{ID: id}); ok {
			t.Errorf("a record of %v was taken", id)
		}
	}
	if fmt.Sprintf("%v %+v %#v %s", rows, rows, rows, rows) != strings.TrimSpace(strings.Repeat("[record] ", 4)) {
		t.Error("rows print what they hold")
	}
}

// Rows take what fits, whatever the texts.
func TestRowsAreFull(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Record{
		"without texts": {}, "an odd one": {Account: "a"}, "UUIDs": {Account: strings.Repeat("u", 36), Session: strings.Repeat("u", 36)},
		"the longest": {Account: strings.Repeat("a", 128), Session: strings.Repeat("s", 128)},
	} {
		each := (RowSize + int64(len(r.Account)+len(r.Session)) + 7) / 8 * 8
		rows, want := NewRows(ID{}, &Words{}), int(BlockSize/each)
		for {
			size, ok := rows.Add(&r)
			if !ok {
				break
			}
			if size != each {
				t.Fatalf("%s: a record counts for %d bytes", name, size)
			}
		}
		if rows.Len() != want {
			t.Errorf("%s: %d records, want %d", name, rows.Len(), want)
		}
		n := 0
		for i := range rows.All() {
			if n++; rows.Record(i) != r {
				t.Fatalf("%s: record %d is not what was put in", name, n)
			}
		}
		if n != want {
			t.Errorf("%s: %d of %d records", name, n, want)
		}
	}
}

// What a word's number means depends on whose it is.
func TestRowsOfDifferentWords(t *testing.T) {
	t.Parallel()
	var e Encoder
	var records []Record
	var of []*Rows
	for lane := range 3 {
		some := randomRecords(uint64(lane), 100)
		for i := range some {
			some[i].ID.Partition = int32(lane)
			some[i].ID.Topic = [16]byte{1}
			some[i].ID.Offset = int64(i)
			some[i].Server = fmt.Sprintf("edge-%d", (i+lane)%5)
			some[i].Client = fmt.Sprintf("client-%d", (i+lane)%100)
		}
		records, of = append(records, some...), append(of, RowsOf(some)...)
	}
	var places []Place
	for n, rows := range of {
		for i := range rows.All() {
			places = append(places, PlaceOf(n, i))
		}
	}
	payload := e.AppendRows(nil, of, places)
	if !bytes.Equal(payload, e.Append(nil, records, all(records))) {
		t.Error("rows are not written as the records are")
	}
	back, err := Decode(nil, payload)
	if err != nil || !cmp.Equal(records, back, exact) {
		t.Errorf("%d of %d records come back, %v", len(back), len(records), err)
	}
}
