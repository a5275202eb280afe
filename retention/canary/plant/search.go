package plant

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf16"
)

// Encodings in which an address or an account may have been left somewhere.
const (
	Text     = "text"    // addresses as written (also as the end of an IPv4-mapped one), in full, in capitals, reversed for DNS; accounts
	Escaped  = "escaped" // JSON and percent escapes
	Wide     = "utf-16"  // little endian
	Hex      = "hex"     // of the address's bytes
	Binary   = "binary"  // the 16 bytes of an IPv6 address, or of an IPv4 address mapped into it
	FourByte = "4 bytes" // an IPv4 address's own: such a run turns up by chance
)

// Hits counts what was found, by encoding. FourByte hits prove nothing by
// themselves: in random bytes there is one of an address in every 4 GiB.
type Hits struct {
	Bytes     int64            `json:"bytes"` // searched
	Addresses map[string]int64 `json:"addresses,omitempty"`
	Accounts  map[string]int64 `json:"accounts,omitempty"`
}

// Certain counts the hits that are no chance.
func (h Hits) Certain() int64 {
	var n int64
	for encoding, hits := range h.Addresses {
		if encoding != FourByte {
			n += hits
		}
	}
	for _, hits := range h.Accounts {
		n += hits
	}
	return n
}

// needle is one run of bytes to look for.
type needle struct {
	bytes    []byte
	encoding string
	account  bool
	bounded  bool // a digit before or after it makes it another address
}

// Search looks for every planted connection in many files. It is made once.
type Search struct {
	needles map[[4]byte][]needle // by their first bytes
	first   [1 << 16]bool        // whether a needle begins with these two bytes
	longest int
}

// shortest is what a needle must have: shorter accounts are not looked for.
const shortest = 4

// NewSearch spells out all events.
func NewSearch(events []Event) (*Search, error) {
	s := &Search{needles: map[[4]byte][]needle{}, longest: shortest}
	seen := map[string]bool{}
	for _, e := range events {
		ip, err := netip.ParseAddr(e.IP)
		if err != nil {
			return nil, errors.New("the plan is damaged")
		}
		for _, n := range append(spellAddress(ip), spellAccount(e.Account)...) {
			key := n.encoding + string(n.bytes)
			if len(n.bytes) < shortest || seen[key] {
				continue
			}
			seen[key] = true
			s.needles[[4]byte(n.bytes)] = append(s.needles[[4]byte(n.bytes)], n)
			s.first[int(n.bytes[0])<<8|int(n.bytes[1])] = true
			s.longest = max(s.longest, len(n.bytes))
		}
	}
	return s, nil
}

func spellAddress(ip netip.Addr) []needle {
	sixteen := ip.As16()
	texts := map[string]string{url.QueryEscape(ip.String()): Escaped}
	texts[ip.String()] = Text // of IPv4 the escapes are the same
	if ip.Is4() {
		four := ip.As4()
		texts[fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", four[3], four[2], four[1], four[0])] = Text
		texts[hex.EncodeToString(four[:])] = Hex
	} else {
		texts[ip.StringExpanded()] = Text
		texts[strings.ToUpper(ip.String())] = Text
		texts[hex.EncodeToString(sixteen[:])] = Hex
		texts[strings.ToUpper(hex.EncodeToString(sixteen[:]))] = Hex
	}
	needles := []needle{{bytes: wide(ip.String()), encoding: Wide}, {bytes: sixteen[:], encoding: Binary}}
	for text, encoding := range texts {
		needles = append(needles, needle{bytes: []byte(text), encoding: encoding, bounded: encoding == Text || encoding == Hex})
	}
	if ip.Is4() {
		needles = append(needles, needle{bytes: sixteen[12:], encoding: FourByte})
	}
	return needles
}

func spellAccount(account string) []needle {
	needles := []needle{
		{bytes: []byte(account), encoding: Text, account: true},
		{bytes: wide(account), encoding: Wide, account: true},
	}
	escaped, _ := json.Marshal(account) // a string has a JSON form
	for _, text := range []string{string(bytes.Trim(escaped, `"`)), url.QueryEscape(account), url.PathEscape(account)} {
		if text != account {
			needles = append(needles, needle{bytes: []byte(text), encoding: Escaped, account: true})
		}
	}
	return needles
}

func wide(s string) []byte {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return b
}

// window is how much of a file is looked at a time.
const window = 1 << 20

// Run searches one file to its end.
func (s *Search) Run(in io.Reader) (Hits, error) {
	hits := Hits{Addresses: map[string]int64{}, Accounts: map[string]int64{}}
	buffer := make([]byte, 0, window+2*s.longest)
	done := 0 // before it every beginning was tried; one byte stays for the boundary
	for {
		n, err := io.ReadFull(in, buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		hits.Bytes += int64(n)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return hits, fmt.Errorf("searching: %w", err)
		}
		end := len(buffer) - s.longest // beginnings up to here have all their bytes, and one more
		if last {
			end = len(buffer)
		}
		for at := done; at < end && at+shortest <= len(buffer); at++ {
			if s.first[int(buffer[at])<<8|int(buffer[at+1])] {
				s.try(buffer, at, &hits)
			}
		}
		if last {
			return hits, nil
		}
		keep := max(end-1, 0)
		done = end - keep
		buffer = buffer[:copy(buffer[:cap(buffer)], buffer[keep:])]
	}
}

func (s *Search) try(buffer []byte, at int, hits *Hits) {
	for _, n := range s.needles[[4]byte(buffer[at:])] {
		end := at + len(n.bytes)
		if !bytes.HasPrefix(buffer[at:], n.bytes) ||
			n.bounded && (at > 0 && isDigit(buffer[at-1], n.encoding) || end < len(buffer) && isDigit(buffer[end], n.encoding)) {
			continue
		}
		if n.account {
			hits.Accounts[n.encoding]++
		} else {
			hits.Addresses[n.encoding]++
		}
	}
}

// isDigit reports what would make an address another one.
func isDigit(b byte, encoding string) bool {
	return b >= '0' && b <= '9' || encoding == Hex && (b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F')
}
