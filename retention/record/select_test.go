package record

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/address"
)

func TestSelectionGivesWhatAFilterGives(t *testing.T) {
	t.Parallel()
	var e Encoder
	records := randomRecords(4, 300)
	payload := e.Append(nil, records, all(records))
	for _, s := range []Selection{
		{Prefix: netip.MustParsePrefix("192.0.2.3/32")},
		{Prefix: netip.MustParsePrefix("192.0.2.0/30")},
		{Prefix: netip.MustParsePrefix("2001:db8::3/128")},
		{Prefix: netip.MustParsePrefix("2001:db8::/64")},
		{Prefix: netip.MustParsePrefix("192.0.0.0/16")},
		{Prefix: netip.MustParsePrefix("2001:db8::4/126")},
		{Prefix: netip.MustParsePrefix("2001:db8::/32")},
		{Prefix: netip.MustParsePrefix("2001:db8:1::/48")},
		{Prefix: netip.MustParsePrefix("2001:d00::/24")},
		{Prefix: netip.MustParsePrefix("203.0.113.0/24")},
		{Account: records[7].Account}, {Account: "nobody"},
	} {
		want := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return !s.Matches(&r) })
		got, err := s.Append(nil, payload)
		if err != nil || !cmp.Equal(want, got, exact, cmp.Comparer(func(a, b []Record) bool { return slices.Equal(a, b) })) {
			t.Errorf("%v %q: %d records, want %d, %v", s.Prefix, s.Account, len(got), len(want), err)
		}
		for n := range payload[:40] {
			if _, err := s.Append(nil, payload[:n]); !errors.Is(err, ErrFormat) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
	}
}

func TestMentionsAreFoundBySubject(t *testing.T) {
	t.Parallel()
	var e Encoder
	mentions := []Mention{{1, 5}, {0xffffffff, 449}, {1, 7}, {2, 0}, {1, 5}}
	payload := e.AppendMentions(nil, mentions)
	for subject, want := range map[uint32][]uint32{1: {5, 7, 5}, 2: {0}, 0xffffffff: {449}, 3: nil} {
		var got []uint32
		if err := Mentioned(payload, subject, func(shard uint32) { got = append(got, shard) }); err != nil || !slices.Equal(got, want) {
			t.Errorf("subject %d: shards %v, want %v, %v", subject, got, want, err)
		}
	}
	for n := range payload {
		if err := Mentioned(payload[:n], 1, func(uint32) {}); !errors.Is(err, ErrFormat) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if err := Mentioned(append(payload, 0), 1, func(uint32) {}); !errors.Is(err, ErrFormat) {
		t.Errorf("a byte too many: %v", err)
	}
}

func FuzzMentioned(f *testing.F) {
	var e Encoder
	f.Add(e.AppendMentions(nil, []Mention{{1, 5}, {2, 449}}), uint32(1))
	f.Fuzz(func(_ *testing.T, payload []byte, subject uint32) {
		_ = Mentioned(payload, subject, func(uint32) {})
	})
}

// A dictionary knows values by where they lie: equal ones in many places, none at all,
// and what lies in the same place but is shorter.
func TestADictionaryTellsPlacesApart(t *testing.T) {
	t.Parallel()
	var e Encoder
	text := "edge-10"
	records := randomRecords(6, 200)
	for i := range records {
		records[i].Server = []string{text, text[:6], "", strings.Clone(text), text[5:], "edge-10"[:i%2]}[i%6]
	}
	back, err := Decode(nil, e.Append(nil, records, all(records)))
	if err != nil || !cmp.Equal(records, back, exact) {
		t.Fatalf("%d records came back, %v", len(back), err)
	}
}

// A frame of 139 records, as a shard gets each second, of which one is the subject's.
func BenchmarkSelection(b *testing.B) {
	records := randomRecords(5, 139)
	ip := netip.MustParseAddr("198.51.100.7")
	records[70].Address, _ = address.From(ip)
	var e Encoder
	payload := e.Append(nil, records, all(records))
	for name, prefix := range map[string]netip.Prefix{"one": netip.PrefixFrom(ip, 32), "none": netip.MustParsePrefix("203.0.113.0/24")} {
		b.Run(name, func(b *testing.B) {
			s := Selection{Prefix: prefix}
			var dst []Record
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = s.Append(dst[:0], payload)
			}
		})
	}
}

// What is selected lies in the payload until it has strings of its own.
func TestOwnLeavesNothingInThePayload(t *testing.T) {
	t.Parallel()
	var e Encoder
	records := randomRecords(8, 300)
	for i := range records {
		records[i].Client = []string{"", "web", strings.Repeat("long ", i%50)}[i%3]
	}
	payload := e.Append(nil, records, all(records))
	s := Selection{Prefix: netip.MustParsePrefix("0.0.0.0/0")}
	want := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return !s.Matches(&r) })
	got, err := s.Append(nil, payload)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d records, want %d, %v", len(got), len(want), err)
	}
	Own(got)
	clear(payload)
	if !slices.Equal(got, want) {
		t.Error("a record changes with the payload")
	}
}
