// Package residue counts the copies of a secret that are left in files and in the memory
// of processes, in each spelling that software gives it. It only reads; the tests and the
// benchmark of what Mayfly leaves behind import it, so that both count alike.
package residue

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Needles are byte strings to look for; long enough that none occurs by chance.
type Needles [][]byte

// Of gives the spellings of an address and an account: as text, in hex, in Base64, and the raw
// bytes of an IPv6 address. Those of an IPv4 address are so few that chance makes them.
func Of(ip netip.Addr, account string) Needles {
	texts := []string{ip.String(), ip.StringExpanded(), strings.ToUpper(ip.String()), hex.EncodeToString(ip.AsSlice())}
	var needles Needles
	if ip.Is6() && !ip.Is4In6() {
		needles = append(needles, ip.AsSlice())
	}
	if account != "" {
		texts = append(texts, account, hex.EncodeToString([]byte(account)))
		if inner := base64.StdEncoding.EncodeToString([]byte(account)); len(account) >= 9 {
			texts = append(texts, inner[:len(account)/3*4])
		}
	}
	for i, text := range texts {
		if !contains(texts[:i], text) {
			needles = append(needles, []byte(text))
		}
	}
	return needles
}

func contains(texts []string, text string) bool {
	for _, t := range texts {
		if t == text {
			return true
		}
	}
	return false
}

// blockSize bounds the memory that a count takes.
const blockSize = 1 << 20

// Count counts occurrences in r, which it reads to its end.
func (n Needles) Count(r io.Reader) (found int, err error) {
	longest := 0
	for _, needle := range n {
		longest = max(longest, len(needle))
	}
	block := make([]byte, blockSize+longest)
	defer clear(block)
	kept := 0
	for {
		read, err := io.ReadFull(r, block[kept:])
		end := err != nil
		if end && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // of ReadFull, never wrapped
			return found, err
		}
		text := block[:kept+read]
		// What begins in the tail is counted with the next block.
		tail := min(max(longest-1, 0), len(text))
		if end {
			tail = 0
		}
		for _, needle := range n {
			found += countBefore(text, needle, len(text)-tail)
		}
		if end {
			return found, nil
		}
		kept = copy(block, text[len(text)-tail:])
	}
}

// countBefore counts the occurrences that begin before limit.
func countBefore(text, needle []byte, limit int) (n int) {
	if len(needle) == 0 {
		return 0
	}
	for at := 0; at < limit; {
		next := bytes.Index(text[at:], needle)
		if next < 0 || at+next >= limit {
			return n
		}
		n++
		at += next + len(needle)
	}
	return n
}

// Text counts occurrences in a text.
func (n Needles) Text(text string) int {
	found, _ := n.Count(strings.NewReader(text))
	return found
}

// Files counts occurrences in all files below a folder, their names included.
func (n Needles) Files(folder string) (found int, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return skipGone(err)
		}
		found += n.Text(entry.Name())
		if !entry.Type().IsRegular() {
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return skipGone(err)
		}
		defer file.Close()
		in, err := n.Count(file)
		found += in
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("looking for residue in files: %w", err)
	}
	return found, nil
}

// skipGone: servers delete files while they are looked at.
func skipGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
