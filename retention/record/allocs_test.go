package record

import "testing"

// Once it has seen frames of the size, an encoder allocates nothing. Not parallel:
// AllocsPerRun counts those of the whole process.
func TestEncodersDoNotAllocate(t *testing.T) {
	records := randomRecords(1, 300)
	rows := RowsOf(records)
	var places []Place
	mentions := make([]Mention, len(records))
	for n, of := range rows {
		for i := range of.All() {
			places = append(places, PlaceOf(n, i))
		}
	}
	for i := range records {
		mentions[i] = Mention{Subject: uint32(i) * 0x9e3779b1, Shard: uint32(i % 450)}
	}
	var e Encoder
	dst := make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(100, func() {
		e.AppendRows(dst, rows, places)
		e.AppendMentions(dst, mentions)
	}); n > 1 { // the bits that say where values differ
		t.Errorf("%v allocations for 300 records", n)
	}
	payload := e.AppendRows(nil, rows, places)
	s := Selection{Account: "nobody"}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := s.Append(nil, payload); err != nil {
			t.Fatal(err)
		}
	}); n > 20 {
		t.Errorf("%v allocations to find that nobody is in a frame", n)
	}
}
