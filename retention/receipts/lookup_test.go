package receipts

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestCheckCase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"1", "ABUSE-17", "INC0012345", "2026110710000012", "20261107", "T-2026-11-07", "abuse_2026-11-07_3",
		"3f2504e0-4f89-41d3-9a0c-0305e82c3301", "x-12345678", strings.Repeat("z", 64),
	} {
		if err := CheckCase(name); err != nil {
			t.Errorf("%q is refused: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "-a", "_a", "a b", "a.b", "a:b", "a/24", "é", "a\n", strings.Repeat("z", 65),
		"192.0.2.1", "2001:db8::1", "192-0-2-1", "192_000_002_001", "CASE-192-0-2-1", "c0000201",
		"0x01020304", "0xc0000201", "3221225985", "ip3221225985", "20010db8000000000000000000000001",
		"2001-db8--1", "x-2001-db8-0-0-0-0-0-1", "2001-db8-1-2-3-4-5-6",
	} {
		if err := CheckCase(name); err == nil {
			t.Errorf("%q passes", name)
		} else if len(name) > 8 && strings.Contains(err.Error(), name) && !strings.Contains(errCaseAddr.Error(), name) {
			t.Errorf("the error quotes %q", name)
		}
	}
}

// No usual spelling of any address passes as a case, bare or inside a name.
func FuzzCheckCase(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1})
	f.Add([]byte{10, 0, 0, 255})
	f.Add([]byte("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ip, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		spellings := []string{ip.String(), ip.StringExpanded(), fmt.Sprintf("0x%x", raw)}
		if ip.Is4() {
			spellings = append(spellings, fmt.Sprintf("%03d-%03d-%03d-%03d", raw[0], raw[1], raw[2], raw[3]))
			if n := binary.BigEndian.Uint32(raw); n >= 100_000_000 {
				spellings = append(spellings, fmt.Sprint(n))
			}
		} else {
			spellings = append(spellings, fmt.Sprintf("%x", raw))
		}
		for _, s := range spellings {
			dashed := strings.NewReplacer(".", "-", ":", "-").Replace(s)
			under := strings.NewReplacer(".", "_", ":", "_").Replace(s)
			for _, name := range []string{s, dashed, under, "case-" + dashed, "T_" + under, dashed + "-x"} {
				if CheckCase(name) == nil {
					t.Errorf("%q passes as a case", name)
				}
			}
		}
	})
}
