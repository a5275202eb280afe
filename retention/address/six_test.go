package address

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// sameAsNetip holds that Parse reads what package netip reads, and nothing else.
func sameAsNetip(t *testing.T, s string) {
	t.Helper()
	want, err := netip.ParseAddr(s)
	got, failed := Parse(s)
	if (err != nil || want.Zone() != "" || len(s) > 64) != (failed != nil) || failed == nil && got.Reveal() != want.Unmap() {
		t.Fatalf("%q: %v, %v; netip: %v, %v", s, got.Reveal(), failed, want, err)
	}
}

var spellings = []string{
	"::", "::1", "1::", "1::2", "2001:db8:9997:b8da:f68:c54a:c3bb:80e7", "2001:DB8::ABCD:ef01", "0000:0000:0000:0000:0000:0000:0000:0000",
	"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3::4:5:6:7:8", "1:2:3:4:5:6:7:8:9",
	":", ":1", "1:", ":::", "1:::2", "1::2::3", "12345::", "g::", "::G", "/::", "@::", "`::", "1:2", "1::2:", ":1::2", "", " ::1", "::1 ",
	"::ffff:192.0.2.1", "::ffff:c000:201", "64:ff9b::192.0.2.33", "fe80::1%eth0", "192.0.2.1", "192.0.2.01", "192.0.2.256", "1.2.3",
	"\xb1::", "1\xba2::", "::\xff", "1\x00::",
}

func TestParseReadsWhatNetipReads(t *testing.T) {
	t.Parallel()
	for _, s := range spellings {
		sameAsNetip(t, s)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		var sixteen [16]byte
		for i := range sixteen {
			if r.IntN(3) > 0 {
				sixteen[i] = byte(r.Uint32())
			}
		}
		s := netip.AddrFrom16(sixteen).String()
		switch r.IntN(6) {
		case 0:
			s = netip.AddrFrom16(sixteen).StringExpanded()
		case 1:
			s = strings.ToUpper(s)
		case 2: // one character is another
			b := []byte(s)
			b[r.IntN(len(b))] = "0189afgAFG:/@`\x80\xb0.%"[r.IntN(18)]
			s = string(b)
		case 3: // one is missing
			at := r.IntN(len(s))
			s = s[:at] + s[at+1:]
		case 4: // one more
			at := r.IntN(len(s) + 1)
			s = s[:at] + string("09af:."[r.IntN(6)]) + s[at:]
		}
		sameAsNetip(t, s)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range spellings {
		f.Add(s)
	}
	f.Fuzz(sameAsNetip)
}

func BenchmarkParse(b *testing.B) {
	texts := make([]string, 1000)
	r := rand.New(rand.NewPCG(1, 2))
	for _, family := range []int{4, 6} {
		for i := range texts {
			texts[i] = fmt.Sprintf("198.51.%d.%d", r.IntN(256), r.IntN(256))
			if family == 6 {
				texts[i] = fmt.Sprintf("2001:db8:%x:%x:%x:%x:%x:%x",
					r.IntN(65536), r.IntN(65536), r.IntN(65536), r.IntN(65536), r.IntN(65536), r.IntN(65536))
			}
		}
		b.Run(fmt.Sprint(family), func(b *testing.B) {
			i := 0
			for b.Loop() {
				if _, err := Parse(texts[i%len(texts)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
