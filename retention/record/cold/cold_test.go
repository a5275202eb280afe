package cold

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/address"
	"mayfly/retention/record"
)

// sessions draws records as a service has them, and odd ones among them.
func sessions(seed uint64, n int) []record.Record {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	records := make([]record.Record, 0, n)
	next := map[int32]int64{}
	const begin = 1_763_775_000_000
	for len(records) < n {
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(8))})
		if r.IntN(3) == 0 {
			ip = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(r.IntN(3)), 15: byte(r.IntN(9))})
		}
		a, _ := address.From(ip)
		model := record.Record{
			Address: a, Account: fmt.Sprintf("account-%d", r.IntN(n)), Server: pick("srv-1", "srv-2", ""),
			Session: pick("", fmt.Sprintf("%016x", r.Uint64()), fmt.Sprintf("%x", r.Uint32())),
			Client:  pick("", "", "web/1.0"), Transport: pick("", "tls"),
		}
		switch r.IntN(4) {
		case 0:
			port := uint16(r.Uint32())
			model.Ports = record.Ports{First: port, Last: port, Known: true}
		case 1:
			first := uint16(1024 + 1008*r.IntN(63))
			model.Ports = record.Ports{First: first, Last: first + 1007, Known: true}
		case 2:
			model.Ports = record.Ports{First: 0, Last: 65535, Known: true}
		}
		if r.IntN(50) == 0 {
			model.Account = strings.Repeat("\xff\x00", r.IntN(64)) + "ä"
		}
		at := begin + int64(r.IntN(900_000))
		model.Since = pick2(r, 0, at)
		for range 1 + r.IntN(5) {
			if len(records) == n {
				break
			}
			rec := model
			rec.Time = at
			at += int64(r.IntN(60_000))
			rec.Event, rec.Outcome = pick("connect", "alive", "disconnect"), pick("", "", "timeout")
			if rec.Event == "connect" {
				rec.Since = 0
			}
			partition := int32(r.IntN(3))
			next[partition] += 1 + int64(r.IntN(3))
			rec.ID = record.ID{Topic: [16]byte{byte(partition % 2)}, Partition: partition, Offset: next[partition]}
			if r.IntN(100) == 0 {
				rec.ID.Index = r.Uint32N(9)
			}
			records = append(records, rec)
		}
	}
	return records
}

func pick2(r *rand.Rand, a, b int64) int64 {
	if r.IntN(2) == 0 {
		return a
	}
	return b
}

// encode gives the block of records, what they are in its order, and the clock.
func encode(tb testing.TB, e *Encoder, records []record.Record) (payload []byte, in []record.Record, clock *Clock) {
	tb.Helper()
	rows, order := sorted(tb, records)
	clock = NewClock(rows)
	return e.Append(nil, rows, order, clock), inOrder(rows, order, records), clock
}

func sorted(tb testing.TB, records []record.Record) (*Rows, []Row) {
	tb.Helper()
	rows := &Rows{}
	if err := rows.Add(records); err != nil {
		tb.Fatal(err)
	}
	return rows, rows.Sort()
}

// inOrder gives the records whose rows these are.
func inOrder(rows *Rows, order []Row, records []record.Record) (in []record.Record) {
	of := map[record.ID]record.Record{}
	for _, r := range records {
		of[r.ID] = r
	}
	for i := range order {
		in = append(in, of[rows.id(&order[i])])
	}
	return in
}

// id is the identity of a row.
func (r *Rows) id(row *Row) record.ID {
	p := r.partitions[row.partition]
	return record.ID{Topic: p.Topic, Partition: p.Number, Offset: row.offset, Index: row.index}
}

var exact = cmp.Options{
	cmp.Comparer(func(a, b address.Address) bool { return a == b }),
	cmp.Comparer(func(a, b record.Record) bool { return a == b }),
}

func TestABlockGivesBackWhatWentIn(t *testing.T) {
	t.Parallel()
	var e Encoder
	var d Decoder
	for n := 1; n < 2000; n += 61 {
		payload, want, clock := encode(t, &e, sessions(uint64(n), n))
		back, err := d.Append(nil, payload, clock, Subject{})
		if err != nil {
			t.Fatalf("%d rows: %v", n, err)
		}
		if !cmp.Equal(want, back, exact) {
			t.Fatalf("%d rows come back otherwise, or not all", n)
		}
		rand.Shuffle(len(back), func(i, j int) { back[i], back[j] = back[j], back[i] })
		if _, again, _ := encode(t, &e, back); !cmp.Equal(want, again, exact) {
			t.Fatalf("%d rows: read in another order they are in another order", n)
		}
	}
}

// What a decoder reads of a block for a subject is what is the subject's among all of it.
func TestABlockGivesTheSubjectsRecords(t *testing.T) {
	t.Parallel()
	var e Encoder
	var d Decoder
	for seed, n := range []int{1, 2, 30, 400, 1500} {
		payload, rows, clock := encode(t, &e, sessions(uint64(seed), n))
		for _, of := range subjects(rows) {
			if diff := compareWithFilter(&d, payload, rows, clock, of); diff != "" {
				t.Fatalf("%d rows: %s", n, diff)
			}
		}
	}
}

// subjects are those that records have, prefixes around them, and others.
func subjects(of []record.Record) []Subject {
	all := []Subject{
		{}, {Account: "nobody"}, {Prefix: netip.MustParsePrefix("0.0.0.0/0")}, {Prefix: netip.MustParsePrefix("::/0")},
		{Prefix: netip.MustParsePrefix("0.0.0.0/32")}, {Prefix: netip.MustParsePrefix("255.255.255.255/32")}, {Prefix: netip.MustParsePrefix("ffff::/16")},
	}
	for i := 0; i < len(of); i += 1 + len(of)/16 {
		ip := of[i].Address.Reveal()
		all = append(all, Subject{Account: of[i].Account})
		for bits := ip.BitLen(); bits >= 0; bits -= 1 + bits/6 {
			prefix, _ := ip.Prefix(bits)
			all = append(all, Subject{Prefix: prefix}, Subject{Prefix: netip.PrefixFrom(ip, bits)})
		}
	}
	return all
}

// compareWithFilter says in what the decoder differs from a filter of rows, which are
// those of the block.
func compareWithFilter(d *Decoder, payload []byte, rows []record.Record, clock *Clock, of Subject) string {
	var want []record.Record
	for _, r := range rows {
		if of.Account != "" && r.Account == of.Account || of.Account == "" && (!of.Prefix.IsValid() || of.Prefix.Contains(r.Address.Reveal())) {
			want = append(want, r)
		}
	}
	before := d.Rows
	got, err := d.Append(nil, payload, clock, of)
	if err != nil || !slices.Equal(want, got) || d.Rows != before+len(rows) {
		return fmt.Sprintf("account %v, prefix of %d bits: %d records, want %d, %v", of.Account != "", of.Prefix.Bits(), len(got), len(want), err)
	}
	return ""
}

func TestSortDropsRepeats(t *testing.T) {
	t.Parallel()
	records := sessions(3, 3000)
	all := append(slices.Clone(records), records[500:900]...)
	rows, order := sorted(t, all)
	if len(order) != len(records) {
		t.Fatalf("%d rows of %d", len(order), len(records))
	}
	in := inOrder(rows, order, records)
	for i := 1; i < len(in); i++ {
		a, b := &in[i-1], &in[i]
		c := a.Address.Reveal().Compare(b.Address.Reveal())
		if c > 0 || c == 0 && a.Account == b.Account && a.Session == b.Session && a.Time > b.Time {
			t.Fatalf("row %d is out of order", i)
		}
	}
}

// What belongs to one connection is side by side, whichever way addresses begin.
func TestSortKeepsConnectionsTogether(t *testing.T) {
	t.Parallel()
	records := sessions(7, 4000)
	for i := range records {
		if i%5 == 0 {
			records[i].Address, _ = address.From(netip.AddrFrom16([16]byte{2: byte(i % 3), 5: byte(i % 7), 15: byte(i % 11)}))
		}
	}
	rows, order := sorted(t, records)
	in := inOrder(rows, order, records)
	seen := map[[3]string]bool{}
	last := [3]string{}
	for i := range in {
		r := &in[i]
		connection := [3]string{r.Address.Reveal().String(), r.Account, r.Session}
		if connection != last && seen[connection] {
			t.Fatalf("row %d belongs to a connection that has ended", i)
		}
		seen[connection], last = true, connection
		if i > 0 && in[i-1].Address.Reveal().Compare(r.Address.Reveal()) > 0 {
			t.Fatalf("row %d is out of order", i)
		}
	}
}

// Rows refuse what no decoder would read, and go on as if it had not been there.
func TestRowsRefuseLongTexts(t *testing.T) {
	t.Parallel()
	records := sessions(9, 20)
	unfit := slices.Clone(records)
	unfit[0].ID.Partition = 99
	unfit[10].Client = strings.Repeat("x", maxTextSize+1)
	rows := &Rows{}
	if err := rows.Add(unfit); !errors.Is(err, ErrUnfit) || rows.Len() != 0 {
		t.Fatalf("%d rows, %v", rows.Len(), err)
	}
	if err := rows.Add(records); err != nil {
		t.Fatal(err)
	}
	clock := NewClock(rows)
	order := rows.Sort()
	head, err := DecodeHead((&Head{Runs: []Run{{Blocks: []Bounds{rows.Bounds(order)}, Clock: clock}}}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	back, err := new(Decoder).Append(nil, new(Encoder).Append(nil, rows, order, clock), head.Runs[0].Clock, Subject{})
	if err != nil || len(back) != len(records) {
		t.Fatalf("%d records of %d, %v", len(back), len(records), err)
	}
}

// TestPartsAreTheWholeInOrder sorts what does not fit in parts.
func TestPartsAreTheWholeInOrder(t *testing.T) {
	t.Parallel()
	records := sessions(12, 9000)
	crowd := records[0] // more rows of one address, account and time than fit
	for i := range 4000 {
		crowd.ID.Offset = 1<<40 + int64(i)
		records = append(records, crowd)
	}
	records = append(records, records[:2000]...) // repeats
	whole, order := sorted(t, records)
	var want []record.ID
	for i := range order {
		want = append(want, whole.id(&order[i]))
	}
	for _, most := range []int{100, 1500, 20_000} {
		rows := &Rows{}
		var got []record.ID
		parts := 0
		for rows.First(most); ; {
			from := records
			if parts%2 == 1 { // a base has other partitions in other parts
				from = slices.Clone(records)
				slices.Reverse(from)
			}
			for some := range slices.Chunk(from, 50) {
				if err := rows.Add(some); err != nil {
					t.Fatal(err)
				}
				if rows.Len() > most {
					t.Fatalf("%d rows, want at most %d", rows.Len(), most)
				}
			}
			order := rows.Sort()
			if !rows.Wants(rows.Bounds(order)) {
				t.Fatal("a part does not want what it has")
			}
			block, clock := order[:min(len(order), MaxRows)], NewClock(rows)
			back, err := new(Decoder).Append(nil, new(Encoder).Append(nil, rows, block, clock), clock, Subject{})
			if err != nil || len(back) != len(block) {
				t.Fatalf("%d of %d rows come back, %v", len(back), len(block), err)
			}
			for i := range order {
				got = append(got, rows.id(&order[i]))
			}
			parts++
			if !rows.Next() {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d rows in %d parts are others than, or in another order than, the %d of the whole", len(got), parts, len(want))
		}
		if least := whole.Len() / most; parts < min(least, 2) {
			t.Fatalf("%d parts of at most %d rows", parts, most)
		}
	}
}

func TestWipeLeavesNothing(t *testing.T) {
	t.Parallel()
	rows, order := sorted(t, sessions(11, 3000))
	var e Encoder
	e.Append(nil, rows, order[:1500], NewClock(rows))
	rows.Wipe()
	for _, text := range [][]byte{rows.text, rows.accounts.text, rows.addresses.text, rows.words.text} {
		if len(text) > 0 || cap(text) == 0 || slices.ContainsFunc(text[:cap(text)], func(c byte) bool { return c != 0 }) {
			t.Error("texts are left")
		}
	}
	if slices.ContainsFunc(rows.columns.Addresses[:cap(rows.columns.Addresses)], func(a address.Address) bool { return a.IsValid() }) {
		t.Error("columns are left")
	}
	for _, of := range [][]Row{rows.rows, rows.sorted} {
		if cap(of) == 0 || slices.ContainsFunc(of[:cap(of)], func(r Row) bool { return r != Row{} }) {
			t.Error("rows are left")
		}
	}
	if cap(rows.places) == 0 || slices.ContainsFunc(rows.places[:cap(rows.places)], func(p place) bool { return p != place{} }) {
		t.Error("places are left")
	}
	for _, keys := range [][]runKey{rows.runs, rows.spare} {
		if cap(keys) == 0 || slices.ContainsFunc(keys[:cap(keys)], func(k runKey) bool { return k != runKey{} }) {
			t.Error("keys of rows are left")
		}
	}
	for _, keys := range [][]sortKey{rows.keyed, rows.scratch} {
		if cap(keys) == 0 || slices.ContainsFunc(keys[:cap(keys)], func(k sortKey) bool { return k != sortKey{} }) {
			t.Error("keys are left")
		}
	}
	for _, points := range rows.samples {
		if cap(points) == 0 || slices.ContainsFunc(points[:cap(points)], func(p point) bool { return p != point{} }) {
			t.Error("samples are left")
		}
	}
	if e.rows != nil || e.in != nil {
		t.Error("rows are left in the encoder")
	}
}

func TestTheHeadFindsEveryPrefix(t *testing.T) {
	t.Parallel()
	records := sessions(5, 4000)
	rows, order := sorted(t, records)
	run := Run{Rows: 4000, Clock: NewClock(rows)}
	var blocks [][]Row
	for block := range slices.Chunk(order, 97) {
		blocks = append(blocks, block)
		run.Blocks = append(run.Blocks, rows.Bounds(block))
	}
	before := Run{Index: []Bounds{{9, 9}, {9, 12}}}
	h, err := DecodeHead((&Head{
		Generation: 7, Runs: []Run{before, run}, Covered: []Cover{{[8]byte{1}, 9}, {[8]byte{2}, 1 << 40}}, Refused: 5, Wraps: 3,
	}).Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	if h.Frames([8]byte{2}) != 1<<40 || h.Frames([8]byte{3}) != 0 || h.Generation != 7 || len(h.Runs) != 2 || h.Runs[1].Rows != 4000 ||
		h.Refused != 5 || h.Wraps != 3 || h.Blocks() != 2+len(blocks)+3 {
		t.Fatal("the head comes back otherwise")
	}
	if from, to := h.Runs[0].FindKey(9); from != 0 || to != 2 {
		t.Fatalf("a key is in the blocks %d to %d", from, to)
	}
	if block, ok := h.Runs[1].Block(1); block != 3 || !ok {
		t.Fatalf("the second block of the second run has number %d, %v", block, ok)
	}
	if _, ok := h.Runs[1].Block(uint32(len(blocks))); ok {
		t.Fatal("a run has more blocks than it has")
	}
	for _, text := range []string{"192.0.2.3/32", "192.0.2.4/31", "192.0.0.0/16", "2001:db8::/32", "2001:db8:0:1::/64", "2001:db8::8/128", "198.51.100.0/24", "::/32"} {
		prefix := netip.MustParsePrefix(text)
		from, to := h.Runs[1].Find(prefix)
		from, to = from-2, to-2 // of the run before
		inside := 0
		for i, block := range blocks {
			has := slices.ContainsFunc(inOrder(rows, block, records), func(r record.Record) bool { return prefix.Contains(r.Address.Reveal()) })
			if has && (i < from || i >= to) {
				t.Fatalf("%s: block %d is not in %d to %d", text, i, from, to)
			}
			if has {
				inside++
			}
		}
		if to-from > inside+2 && prefix.Bits() <= 64 {
			t.Errorf("%s: %d blocks to read for %d that have it", text, to-from, inside)
		}
	}
}

// pairs draws n pairs and sorts them.
func pairs(seed uint64, n int) []Pair {
	r := rand.New(rand.NewPCG(seed, 1))
	var pairs []Pair
	for range n {
		pairs = append(pairs, Pair{r.Uint32N(200) * 20_000_003, r.Uint32N(170)})
	}
	slices.SortFunc(pairs, ComparePairs)
	return slices.Compact(pairs)
}

func TestPairsComeBack(t *testing.T) {
	t.Parallel()
	for n := 1; n < 3000; n += 211 {
		want := pairs(uint64(n), n)
		var got []Pair
		err := EachPair(new(Encoder).AppendPairs(nil, want), func(p Pair) { got = append(got, p) })
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d pairs of %d, %v", len(got), len(want), err)
		}
	}
}

func TestWrapsComeBack(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 1))
	var want []Wrap
	for i := range 40 {
		w := Wrap{Writer: [8]byte{byte(i)}, Encapsulated: []byte(strings.Repeat("k", r.IntN(1200)))}
		all := map[uint64]bool{}
		for range r.IntN(200) {
			n := 1 + r.Uint64N(300)
			all[n] = true
			w.Segments.Add(n)
		}
		for n := range uint64(302) {
			if w.Segments.Has(n) != all[n] {
				t.Fatalf("%d is in the set: %v, want %v", n, w.Segments.Has(n), all[n])
			}
		}
		want = append(want, w)
	}
	var got []Wrap
	if err := EachWrap(AppendWraps(nil, want), func(w Wrap) { got = append(got, w) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzWraps(f *testing.F) {
	f.Add(AppendWraps(nil, []Wrap{{Writer: [8]byte{1}, Encapsulated: []byte("key"), Segments: Spans{{1, 7}, {9, 9}}}}))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var wraps []Wrap
		if EachWrap(payload, func(w Wrap) { wraps = append(wraps, w) }) != nil || len(wraps) == 0 {
			return
		}
		var again []Wrap
		if err := EachWrap(AppendWraps(nil, wraps), func(w Wrap) { again = append(again, w) }); err != nil || !cmp.Equal(wraps, again) {
			t.Fatalf("wraps that decode do not survive encoding: %v", err)
		}
	})
}

func TestUUIDsTakeTheirRandomBits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var ids []string
	for range 1000 {
		a, b := r.Uint64(), r.Uint64()
		ids = append(ids, fmt.Sprintf("%08x-%04x-4%03x-%x%03x-%012x", uint32(a), uint16(a>>32), a>>52, 8+b&3, b>>2&0xfff, b>>16))
	}
	var w bitWriter
	w.texts(ids)
	size := len(w.finish())
	if most := 1000*122/8 + 100; size > most {
		t.Fatalf("1000 UUIDs take %d bytes, want at most %d", size, most)
	}
	reader, column := bitReader{in: w.out}, texts{}
	reader.texts(&column, len(ids))
	for i, id := range ids {
		if string(reader.appendText(nil, &column, i)) != id || reader.find(&column, id) != i {
			t.Fatal("they come back otherwise")
		}
	}
}

func FuzzBlock(f *testing.F) {
	for n := 1; n < 300; n += 70 {
		rows, order := sorted(f, sessions(uint64(n), n))
		clock := NewClock(rows)
		head := (&Head{Generation: 1, Runs: []Run{{Rows: uint64(n), Blocks: []Bounds{rows.Bounds(order)}, Clock: clock}}}).Append(nil)
		f.Add(new(Encoder).Append(nil, rows, order, clock), head)
	}
	f.Fuzz(func(t *testing.T, payload, head []byte) {
		if len(payload) > 1<<16 || len(head) > 1<<16 {
			return
		}
		h, err := DecodeHead(head)
		if err != nil || len(h.Runs) == 0 || h.Runs[0].Clock == nil {
			return
		}
		again, err := DecodeHead(h.Append(nil))
		if err != nil || !slices.Equal(again.Runs[0].Blocks, h.Runs[0].Blocks) || !slices.Equal(again.Covered, h.Covered) {
			t.Fatalf("a head that decodes does not survive encoding: %v", err)
		}
		_, _ = new(Decoder).Append(nil, payload, h.Runs[0].Clock, Subject{Prefix: netip.MustParsePrefix("192.0.2.0/30")})
		_, _ = new(Decoder).Append(nil, payload, h.Runs[0].Clock, Subject{Account: "account-3"})
		records, err := new(Decoder).Append(nil, payload, h.Runs[0].Clock, Subject{})
		if err != nil {
			return
		}
		if len(records) == 0 {
			return
		}
		payload, want, clock := encode(t, new(Encoder), records)
		back, err := new(Decoder).Append(nil, payload, clock, Subject{})
		if err != nil || len(back) != len(want) {
			t.Fatalf("what decodes does not survive encoding: %d of %d, %v", len(back), len(want), err)
		}
		for i := range back {
			if back[i] != want[i] {
				t.Fatal("a record comes back otherwise")
			}
		}
		for _, of := range subjects(want) {
			if diff := compareWithFilter(new(Decoder), payload, want, clock, of); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func FuzzPairs(f *testing.F) {
	f.Add(new(Encoder).AppendPairs(nil, pairs(1, 1)))
	f.Add(new(Encoder).AppendPairs(nil, pairs(2, 100)))
	f.Fuzz(func(t *testing.T, payload []byte) {
		n := 0
		if err := EachPair(payload, func(Pair) { n++ }); err == nil && n > MaxRows {
			t.Fatalf("%d pairs", n)
		}
	})
}

func BenchmarkBlock(b *testing.B) {
	records := sessions(1, 1500)
	rows, order := sorted(b, records)
	clock := NewClock(rows)
	var e Encoder
	var d Decoder
	payload := e.Append(nil, rows, order, clock)
	perRow := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(records)), "ns/row")
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			payload = e.Append(payload[:0], rows, order, clock)
		}
		perRow(b)
	})
	b.Run("find", func(b *testing.B) {
		wanted := Subject{Prefix: netip.PrefixFrom(records[700].Address.Reveal(), 32)}
		var dst []record.Record
		b.ReportAllocs()
		for b.Loop() {
			dst, _ = d.Append(dst[:0], payload, clock, wanted)
		}
		perRow(b)
	})
	b.Run("decode", func(b *testing.B) {
		var dst []record.Record
		b.ReportAllocs()
		for b.Loop() {
			dst, _ = d.Append(dst[:0], payload, clock, Subject{})
		}
		perRow(b)
	})
}
