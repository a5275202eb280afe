package receipts

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Reasons are why a subject may be looked up.
var Reasons = []string{
	"abuse-report", "spam", "fraud", "account-takeover", "attack", "legal-order", "safety", "test",
}

// Lookup is the entry of one look-up, or of one batch of them.
type Lookup struct {
	Case    string // what CheckCase accepts
	Reason  string // one of Reasons
	Subject string // the kind alone: "ip", "prefix /24", "account" or "batch"
	// Events and Accounts were found; none was shown where Ambiguous.
	Events    int
	Accounts  int
	Ambiguous bool
	Complete  bool
	From      time.Time
	To        time.Time
	Batch     int // subjects in the batch
}

var subjectKind = regexp.MustCompile(`^(ip|account|batch|prefix /\d{1,3})$`)

func (l Lookup) check() error {
	if err := CheckCase(l.Case); err != nil {
		return fmt.Errorf("refusing a receipt: case: %w", err)
	}
	if err := CheckReason(l.Reason); err != nil {
		return fmt.Errorf("refusing a receipt: reason: %w", err)
	}
	if !subjectKind.MatchString(l.Subject) {
		return errors.New("refusing a receipt: subject: only its kind may be written down")
	}
	return nil
}

// CheckReason accepts one of Reasons.
func CheckReason(reason string) error {
	if !slices.Contains(Reasons, reason) {
		return fmt.Errorf("must be one of %s", strings.Join(Reasons, ", "))
	}
	return nil
}

var (
	caseShape   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
	uuidShape   = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	digitRuns   = regexp.MustCompile(`[0-9]+`)
	hexGroup    = regexp.MustCompile(`(?i)^(0x)?([0-9a-f]{8}|[0-9a-f]{32})$`)
	separators  = strings.NewReplacer("_", "-")
	errCase     = errors.New("must be 1 to 64 of A-Z, a-z, 0-9, '-' and '_', and start with a letter or digit")
	errCaseAddr = errors.New("looks like an address in some spelling, and a case is kept for good: use the ticket's own name")
)

// CheckCase accepts the name of a case: a ticket number, a UUID, a short name.
// A name is refused where it, or a part of it, can be read as an address:
// 192-0-2-1, c0000201, 0xC0000201, 3221225985, 2001-db8--1, 32 hex digits. Eight
// digits without a letter pass: they are a date far more often. INC0012345 passes
// too: hexadecimal counts only where it is a whole group.
func CheckCase(name string) error {
	switch {
	case !caseShape.MatchString(name):
		return errCase
	case uuidShape.MatchString(name):
		return nil
	}
	groups := strings.Split(separators.Replace(name), "-")
	if hasDashedAddress(groups) || slices.ContainsFunc(groups, hexAddress) ||
		slices.ContainsFunc(digitRuns.FindAllString(name, -1), decimalAddress) {
		return errCaseAddr
	}
	return nil
}

// hasDashedAddress looks for an address whose dots or colons became dashes, in
// any run of groups.
func hasDashedAddress(groups []string) bool {
	for i := range groups {
		for j := i + 2; j <= len(groups); j++ {
			run := groups[i:j]
			if len(run) == 4 && allOctets(run) {
				return true
			}
			if _, err := netip.ParseAddr(strings.Join(run, ":")); err == nil {
				return true
			}
		}
	}
	return false
}

// allOctets is laxer than netip: leading zeros are how some people write.
func allOctets(groups []string) bool {
	return !slices.ContainsFunc(groups, func(g string) bool {
		n, err := strconv.ParseUint(g, 10, 16)
		return err != nil || n > 255
	})
}

// hexAddress reports 32 or 128 bits in hexadecimal.
func hexAddress(group string) bool {
	m := hexGroup.FindStringSubmatch(group)
	return m != nil && (m[1] != "" || len(m[2]) == 32 || strings.ContainsAny(m[2], "abcdefABCDEF"))
}

// decimalAddress reports 32 bits as one decimal number, from 5.245.225.0 on: shorter
// numbers are tickets.
func decimalAddress(run string) bool {
	if len(run) != 9 && len(run) != 10 {
		return false
	}
	_, err := strconv.ParseUint(run, 10, 32)
	return err == nil
}
