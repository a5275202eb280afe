package form

import (
	"crypto/rand"
	"net/netip"
	"strings"
	"testing"
)

func TestPlacesLookOrdinary(t *testing.T) {
	t.Parallel()
	f, err := New("user-########", []string{"192.0.2.0/28", "198.51.100.7/32", "2001:db8:7::/48"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Prefix]int{}
	for range 2000 {
		var random [placeBytes]byte
		_, _ = rand.Read(random[:])
		drawn, port := f.Place(random)
		ip := drawn.Reveal()
		if !f.Contains(ip) || port < firstPort {
			t.Fatal("a place outside of its ranges")
		}
		if ip == netip.MustParseAddr("192.0.2.0") || ip == netip.MustParseAddr("192.0.2.15") {
			t.Fatal("a network's own address, or its broadcast")
		}
		for _, prefix := range f.Ranges {
			if prefix.Contains(ip) {
				seen[prefix]++
			}
		}
		if again, p := f.Place(random); again != drawn || p != port {
			t.Fatal("the same randomness drew something else")
		}
	}
	for _, prefix := range f.Ranges {
		if seen[prefix] < 400 {
			t.Errorf("%d of 2000 in one of three ranges", seen[prefix])
		}
	}
}

func TestPictures(t *testing.T) {
	t.Parallel()
	p, err := ParsePicture("id-#@%#@%")
	if err != nil {
		t.Fatal(err)
	}
	account := p.Fill([]uint32{7, 27, 15, 10, 3, 260})
	if account != "id-7bf0d4" {
		t.Errorf("filled as %s", account)
	}
	if indices, ok := p.Read(account); !ok || p.Fill(indices) != account {
		t.Errorf("read back as %v, %v", indices, ok)
	}
	for _, other := range []string{"", "id-7bf0d", "id-7bf0d44", "ID-7bf0d4", "id-xbf0d4", "id-7Bf0d4"} {
		if _, ok := p.Read(other); ok {
			t.Errorf("%q has the shape", other)
		}
	}
	for _, bad := range []string{"", "user", "###", "a\n####", strings.Repeat("#", 129), "####\xff"} {
		if _, err := ParsePicture(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestRangesThatCantBe(t *testing.T) {
	t.Parallel()
	for _, bad := range [][]string{nil, {"192.0.2.1"}, {"192.0.2.1/24"}, {"::ffff:192.0.2.0/120"}, {"fe80::%eth0/64"}} {
		if _, err := New("####", bad); err == nil {
			t.Errorf("%v are taken", bad)
		} else if strings.Contains(err.Error(), "192.0.2.1") {
			t.Errorf("the error quotes a range: %v", err)
		}
	}
}

func FuzzPicture(f *testing.F) {
	f.Add("user-########", "user-12345678")
	f.Fuzz(func(t *testing.T, text, account string) {
		p, err := ParsePicture(text)
		if err != nil {
			return
		}
		if indices, ok := p.Read(account); ok && p.Fill(indices) != account {
			t.Errorf("%q of %q reads back as another", account, text)
		}
	})
}
