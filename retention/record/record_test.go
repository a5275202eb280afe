package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/address"
)

func randomRecords(seed uint64, n int) []Record {
	r := rand.New(rand.NewPCG(seed, 0))
	records := make([]Record, n)
	next := map[int32]int64{}
	for i := range records {
		partition := int32(r.IntN(3))
		next[partition] += 1 + int64(r.IntN(3))
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(8))})
		if r.IntN(3) == 0 {
			ip = netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(r.IntN(9))})
		}
		a, _ := address.From(ip)
		rec := Record{
			ID:      ID{Topic: [16]byte{byte(partition % 2)}, Partition: partition, Offset: next[partition]},
			Time:    1_700_000_000_000 + int64(r.IntN(5000)),
			Address: a,
			Account: fmt.Sprintf("account-%d", r.IntN(2*n)),
			Event:   []string{"connect", "alive"}[r.IntN(2)],
			Session: fmt.Sprintf("s%d", r.Uint32()),
			Server:  "srv-1",
		}
		switch r.IntN(4) {
		case 0:
			rec.Ports = Ports{First: 1, Last: 1, Known: true}
			rec.Since = rec.Time - int64(r.IntN(100)) + 50
		case 1:
			rec.Ports = Ports{First: 1024, Last: 2047, Known: true}
		}
		records[i] = rec
	}
	return records
}

func all(records []Record) []uint32 {
	pick := make([]uint32, len(records))
	for i := range pick {
		pick[i] = uint32(i)
	}
	return pick
}

var exact = cmp.Options{
	cmp.Comparer(func(a, b address.Address) bool { return a == b }),
	cmp.Comparer(func(a, b Record) bool { return a == b }),
}

func TestDecodeReversesAppend(t *testing.T) {
	t.Parallel()
	var e Encoder
	for n := 1; n < 400; n += 7 {
		records := randomRecords(uint64(n), n)
		payload := e.Append(nil, records, all(records))
		back, err := Decode(nil, payload)
		if err != nil || !cmp.Equal(records, back, exact) {
			t.Fatalf("%d records: err %v, %d back", n, err, len(back))
		}
		again := e.Append(nil, back, all(back))
		if string(again) != string(payload) {
			t.Fatalf("%d records: encoding what was decoded gives other bytes", n)
		}
	}
}

// inBatches puts several records into each Kafka record, as batches sealed at the edge are.
func inBatches(records []Record, size int) []Record {
	for i := range records {
		records[i].ID = ID{Topic: [16]byte{1}, Partition: int32(i % 2), Offset: int64(i / 2 / size), Index: uint32(i / 2 % size * 3)}
	}
	return records
}

func TestRecordsOfOneKafkaRecordKeepTheirIndices(t *testing.T) {
	t.Parallel()
	var e Encoder
	for _, size := range []int{1, 2, 7, 100} {
		records := inBatches(randomRecords(9, 200), size)
		slices.SortStableFunc(records, func(a, b Record) int { return int(a.ID.Partition - b.ID.Partition) })
		payload := e.Append(nil, records, all(records))
		back, err := Decode(nil, payload)
		if err != nil || !cmp.Equal(records, back, exact) {
			t.Fatalf("batches of %d: %v", size, err)
		}
	}
	records := inBatches(randomRecords(9, 40), 4) // in no order, with repeats
	records = append(records, records[3], records[3], records[0])
	back, err := Decode(nil, e.Append(nil, records, all(records)))
	if err != nil || !cmp.Equal(records, back, exact) {
		t.Fatalf("out of order: %v", err)
	}
}

// Values of every length and alphabet come back, packed or not.
func TestPackedStringsComeBack(t *testing.T) {
	t.Parallel()
	var e Encoder
	r := rand.New(rand.NewPCG(5, 0))
	for symbols := 1; symbols < 80; symbols++ {
		for _, length := range []int{1, 7, 12, 36, 255, 300} {
			records := randomRecords(1, 90)
			for i := range records {
				session := make([]byte, length)
				for j := range session {
					session[j] = byte('0' + r.IntN(symbols))
				}
				if records[i].Session = string(session); i%17 == 3 {
					records[i].Session = ""
				}
			}
			payload := e.Append(nil, records, all(records))
			back, err := Decode(nil, payload)
			if err != nil || !cmp.Equal(records, back, exact) {
				t.Fatalf("%d symbols, length %d: %v", symbols, length, err)
			}
		}
	}
}

func TestPackedStringsAreReadInOneSpellingOnly(t *testing.T) {
	t.Parallel()
	// form; present: 1, 1; lengths: 1, 1; template: a place that differs
	const head = "\x03" + "\x01\x00\x00" + "\x01\x00\x00" + "\x01"
	for name, column := range map[string]string{
		"no symbols":             head + "\x00\x00",
		"no value":               "\x03\x00\x00\x00",
		"no length":              "\x03\x01\x00\x00\x00\x00\x00\x01\x01a\x00",
		"a length too long":      "\x03\x01\x00\x00\x81\x01\x00\x00\x01\x01a\x00",
		"neither full nor empty": "\x03\x02\x00\x00\x01\x00\x00\x01\x02ab\x00",
		"a place too many":       "\x03\x01\x00\x00\x01\x00\x00\x03\x02ab\x00",
		"nothing differs":        "\x03\x01\x00\x00\x01\x00\x00\x00a\x02ab",
		"symbols out of order":   head + "\x02ba\x00",
		"a symbol twice":         head + "\x02aa\x00",
		"code without symbol":    head + "\x03abc\x0f",
		"bits left over":         head + "\x02ab\x04",
		"too short":              "\x03\x01\x00\x00\x09\x00\x00\xff\x01\x02ab\x00",
	} {
		reader := &columnReader{rest: column}
		reader.texts(&Texts{}, 2)
		if !reader.failed {
			t.Errorf("%s: accepted", name)
		}
	}
	reader := &columnReader{rest: "\x03" + "\x00\x01\x00\x02" + "\x01\x00\x00" + "\x01" + "\x02ab" + "\x01"}
	var got Texts
	reader.texts(&got, 2)
	if reader.failed || reader.rest != "" || got.At(0) != "" || got.At(1) != "b" {
		t.Errorf("the column that is right: %q, %q left, failed %v", got.values, reader.rest, reader.failed)
	}
}

func TestDecodeRefusesEveryTruncation(t *testing.T) {
	t.Parallel()
	var e Encoder
	records := randomRecords(1, 40)
	payload := e.Append(nil, records, all(records))
	for n := range payload {
		if _, err := Decode(nil, payload[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("%d of %d bytes: %v", n, len(payload), err)
		}
	}
	if _, err := Decode(nil, append(payload, 0)); !errors.Is(err, ErrFormat) {
		t.Fatalf("a byte too many: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	var e Encoder
	for n := range 4 {
		records := randomRecords(uint64(n), 1+n*5)
		f.Add(e.Append(nil, records, all(records)))
		f.Add(e.Append(nil, inBatches(records, 3), all(records)))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		records, err := Decode(nil, payload)
		if err != nil {
			return
		}
		var e Encoder
		once := e.Append(nil, records, all(records))
		back, err := Decode(nil, once)
		if err != nil || !cmp.Equal(records, back, exact) {
			t.Fatalf("what was accepted does not survive another round: %v", err)
		}
	})
}

// Columns that are used again have what Decode gives, and nothing of what was in them.
func TestColumnsAreUsedAgain(t *testing.T) {
	t.Parallel()
	var e Encoder
	var decoded, gathered Columns
	for seed, n := range []int{300, 7, 1, 40, 400} {
		records := randomRecords(uint64(seed), n)
		payload := e.Append(nil, records, all(records))
		if err := decoded.Decode(payload); err != nil {
			t.Fatal(err)
		}
		gathered.Gather(records)
		for name, c := range map[string]*Columns{"decoded": &decoded, "gathered": &gathered} {
			var back []Record
			for i := range c.Len() {
				back = append(back, c.record(i))
			}
			if !cmp.Equal(records, back, exact) {
				t.Fatalf("%d records come back otherwise, %s", n, name)
			}
			if printed := fmt.Sprintf("%v %+v %#v", *c, c.Accounts, c); strings.Contains(printed, records[0].Account) {
				t.Fatalf("printing columns shows what they hold: %s", printed)
			}
		}
	}
	decoded.Wipe()
	if decoded.Len() != 0 || slices.ContainsFunc(decoded.reader.made[:cap(decoded.reader.made)], func(b byte) bool { return b != 0 }) ||
		slices.ContainsFunc(decoded.Accounts.values[:cap(decoded.Accounts.values)], func(s string) bool { return s != "" }) ||
		slices.ContainsFunc(decoded.Addresses[:cap(decoded.Addresses)], func(a address.Address) bool { return a.IsValid() }) {
		t.Error("something is left of what was wiped")
	}
}

func TestRecordPrintsNothing(t *testing.T) {
	t.Parallel()
	records := randomRecords(3, 1)
	r := records[0]
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q %x %d", r, r, r, r, r, r, r) + fmt.Sprint(&r, records) + string(text)
	for _, secret := range []string{r.Account, r.Address.Reveal().String(), r.Session} {
		if strings.Contains(printed, secret) {
			t.Fatalf("printing a record shows what it holds: %s", printed)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	records := randomRecords(1, 1000)
	pick := all(records)
	var e Encoder
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.Append(dst[:0], records, pick)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
	b.ReportMetric(float64(len(dst))/1000, "B/record")
}

func BenchmarkDecode(b *testing.B) {
	records := randomRecords(1, 1000)
	var e Encoder
	payload := e.Append(nil, records, all(records))
	var dst []Record
	b.ReportAllocs()
	for b.Loop() {
		dst, _ = Decode(dst[:0], payload)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}

func BenchmarkColumns(b *testing.B) {
	records := randomRecords(1, 200)
	var e Encoder
	payload := e.Append(nil, records, all(records))
	var c Columns
	b.ReportAllocs()
	for b.Loop() {
		_ = c.Decode(payload)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/record")
}

// A column that repeats itself, as servers and kinds of events do.
func BenchmarkDictionary(b *testing.B) {
	records := randomRecords(1, 1000)
	column := make([]string, len(records))
	for i := range records {
		column[i] = fmt.Sprintf("edge-%02d.example", (i*7919)%40)
	}
	var e Encoder
	b.ReportAllocs()
	for b.Loop() {
		if !e.buildDictionary(column) {
			b.Fatal("no dictionary")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
