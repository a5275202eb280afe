package receipts

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mayfly/retention"
)

func (e *Policy) check() error {
	p := retention.Policy{Name: e.Name, Window: e.Window, Epoch: e.Length}
	length := e.Length.Milliseconds()
	switch {
	case p.Validate() != nil || length <= 0 || e.First%length != 0 || e.First > maxMillis || e.First < -maxMillis:
		return errors.New("refusing a receipt: a policy that can't be")
	case e.Basis != CleanBasis(e.Basis):
		return errors.New("refusing a receipt: the basis is too long or not plain text")
	}
	return nil
}

func (e *Removed) check() error {
	p := retention.Policy{Name: e.Name, Window: time.Second}
	if p.Validate() != nil {
		return errors.New("refusing a receipt: not a policy's name")
	}
	return nil
}

func (e *Key) check() error {
	if !isHex(e.ID, 16) || e.Shards < 1 || e.Shards >= 1<<24 || !e.Deadline.After(e.Epoch.StartTime()) {
		return errors.New("refusing a receipt: a key that can't be")
	}
	return nil
}

func (e *Purged) check() error {
	for _, id := range e.Keys {
		if !isHex(id, 16) {
			return errors.New("refusing a receipt: not a key id")
		}
	}
	switch {
	case len(e.Keys) > MaxKeys || e.KeyCount < int64(len(e.Keys)) || e.Nodes < 1:
		return errors.New("refusing a receipt: counts that can't be")
	case !slices.Contains(Methods, e.Method) || !slices.Contains(Assurances, e.Assurance):
		return errors.New("refusing a receipt: an unknown method or assurance")
	case e.Binary != "" && !isHex(e.Binary, 64) || e.Config != "" && !isHex(e.Config, 64):
		return errors.New("refusing a receipt: not a digest")
	case e.Late != (e.Lag() > Grace):
		return errors.New("refusing a receipt: late or not, its times say otherwise")
	case e.Tally != nil:
		return e.Tally.check(e.At)
	}
	return nil
}

func (e *NeverMinted) check() error {
	if e.Count < 1 || e.Count > 1<<32 || e.Epoch.Length <= 0 || e.Count > maxMillis/e.Epoch.Length {
		return errors.New("refusing a receipt: counts that can't be")
	}
	return nil
}

func (e *Looked) check() error {
	if !plainID(e.ID) {
		return errors.New("refusing a receipt: not an id")
	}
	return e.Lookup.check()
}

// plainID accepts what rand.Text makes.
func plainID(id string) bool {
	return len(id) >= 1 && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	})
}

// isHex accepts n lower-case hexadecimal digits.
func isHex(s string, n int) bool {
	if len(s) != n {
		return false
	}
	for i := range n {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// CleanBasis is what an entry keeps of a legal basis: one line of at most MaxBasis
// bytes.
func CleanBasis(basis string) string {
	basis = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(basis, "?"))
	for len(basis) > MaxBasis {
		_, n := utf8.DecodeLastRuneInString(basis)
		basis = basis[:len(basis)-n]
	}
	return basis
}
