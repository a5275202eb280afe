package event

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"
)

// strict is the form of RFC 3339 that time.Parse is lenient about.
var strict = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// instantOracle is what the standard library makes of s.
func instantOracle(s string) (int64, bool) {
	t, err := time.Parse(time.RFC3339, s)
	ms := t.UnixMilli()
	return ms, err == nil && strict.MatchString(s) && minInstant <= ms && ms <= maxInstant
}

var instants = []string{
	"2026-03-01T12:30:45Z", "2026-03-01T12:30:45.6Z", "2026-03-01T12:30:45.678999999999Z", "2026-03-01T12:30:45+14:00",
	"1969-12-31T23:59:59.0019-00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "0000-12-31T23:59:59-00:01", "0000-03-01T00:00:00Z",
	"9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-00:01", "2024-02-29T00:00:00Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
	"2000-02-29T00:00:00Z", "2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-04-31T00:00:00Z",
	"2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-01-01T1:00:00Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z",
	"2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00:00.5", "2026-01-01T00:00:00+24:00",
	"2026-01-01T00:00:00+23:60", "2026-01-01T00:00:00+2359", "2026-01-01T00:00:00Z ", " 2026-01-01T00:00:00Z", "2026-01-01T00:00Z", "12026-01-01T00:00:00Z",
	"-026-01-01T00:00:00Z", "2026-1-01T00:00:000Z", "", "Z", "2026-01-01T00:00:00.5ZZ", "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00+0a:00", "2026-0x-01T00:00:00Z",
	strings.Repeat("\x00", 10) + "T00:00:00Z", "2026-01-01T00:00\xba00Z", "2026-01-01T0/:00:00Z", "2026-01-01T00;00:00Z", "2026-01-01T00:0::00Z", "2026-01-01T1?:00:00Z",
}

func TestInstant(t *testing.T) {
	t.Parallel()
	var d dates // what it remembers of one time must not change what it says of the next
	check := func(s string) {
		got, ok := d.parseInstant(s)
		want, wantOK := instantOracle(s)
		if ok != wantOK || ok && got != want {
			t.Errorf("%q: %d %v, want %d %v", s, got, ok, want, wantOK)
		}
	}
	for _, s := range instants {
		check(s)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		ms := minInstant + random.Int64N(maxInstant-minInstant+1)
		zone := time.FixedZone("", 60*(random.IntN(2*1439)-1439))
		check(time.UnixMilli(ms).In(zone).Format(time.RFC3339Nano))
		s := strings.Trim(string(appendInstant(nil, ms)), `"`)
		if got, ok := d.parseInstant(s); !ok || got != ms {
			t.Errorf("%d is written as %s and read as %d", ms, s, got)
		}
	}
	for day := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 10_000; day = day.AddDate(0, 0, 1) {
		y, m, of := day.Date()
		if got := daysSince1970(uint(y), uint(m), uint(of)) * 86400; got != day.Unix() {
			t.Fatalf("%v: %d days", day, got)
		}
	}
}

func FuzzInstant(f *testing.F) {
	for _, s := range instants {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d dates
		d.parseInstant(s)
		got, ok := d.parseInstant(s)
		want, wantOK := instantOracle(s)
		if ok != wantOK || ok && got != want {
			t.Errorf("%q: %d %v, want %d %v", s, got, ok, want, wantOK)
		}
	})
}

func BenchmarkInstant(b *testing.B) {
	var d dates
	for b.Loop() {
		if _, ok := d.parseInstant("2026-03-01T12:30:45.678Z"); !ok {
			b.Fatal("refused")
		}
	}
}
