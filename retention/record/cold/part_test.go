package cold

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mayfly/retention/address"
)

// TestPartsBoundTheWords: of what comes in parts, texts that no two records share take no
// more memory than accounts and sessions do, and all of it comes back.
func TestPartsBoundTheWords(t *testing.T) {
	t.Parallel()
	const most = 500
	records := sessions(13, 10_000)
	for i := range records {
		records[i].Client = fmt.Sprintf("%0128d", i)
		records[i].Address, _ = address.From(netip.AddrFrom4([4]byte{10, 0, byte(i), byte(i >> 8)}))
		records[i].Server = strings.Repeat("s", i%100)
	}
	rows, parts, found := &Rows{}, 0, map[string]bool{}
	for rows.First(most); ; {
		for some := range slices.Chunk(records, 50) {
			if err := rows.Add(some); err != nil {
				t.Fatal(err)
			}
			if n := max(len(rows.shared.all), len(rows.addresses.all)); n > most {
				t.Fatalf("part %d: %d tuples or addresses for at most %d rows", parts, n, most)
			}
			if size := len(rows.text) + len(rows.accounts.text) + len(rows.words.text); size > 2*textOfRow*most {
				t.Fatalf("part %d: %d bytes of texts for at most %d rows", parts, size, most)
			}
		}
		order := rows.Sort()
		for block := range slices.Chunk(order, 100) {
			clock := NewClock(rows)
			back, err := new(Decoder).Append(nil, new(Encoder).Append(nil, rows, block, clock), clock, Subject{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range back {
				if found[r.Client] || r.Server != strings.Repeat("s", len(r.Server)) {
					t.Fatal("a record is there twice, or with another's server")
				}
				found[r.Client] = true
			}
		}
		parts++
		if !rows.Next() {
			break
		}
		if parts > len(records)/10 {
			t.Fatal("parts come to no end")
		}
	}
	if len(found) != len(records) {
		t.Errorf("%d of %d records in %d parts", len(found), len(records), parts)
	}
}
