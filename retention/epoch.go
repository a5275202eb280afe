package retention

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Epoch is one slice of a policy's time line. Its key pair, its layout and its
// deadline belong to it alone. Length is part of the identity, so that a
// changed epoch length never gives two layouts the same name.
type Epoch struct {
	Policy string
	Start  int64 // Unix milliseconds, a multiple of Length
	Length int64 // milliseconds
}

// Deadline is the instant at which nothing of e may be readable any more under
// a window of the given length.
func (e Epoch) Deadline(window time.Duration) time.Time {
	return time.UnixMilli(e.Start + window.Milliseconds())
}

// StartTime is the first instant of e.
func (e Epoch) StartTime() time.Time { return time.UnixMilli(e.Start) }

// EndTime is the first instant after e.
func (e Epoch) EndTime() time.Time { return time.UnixMilli(e.Start + e.Length) }

// String gives the epoch's name, "policy/start+length" in milliseconds; it is
// the same in keys, logs, receipts and pages. ParseEpoch reads it back.
func (e Epoch) String() string {
	return e.Policy + "/" + strconv.FormatInt(e.Start, 10) + "+" + strconv.FormatInt(e.Length, 10)
}

// ParseEpoch is the inverse of Epoch.String.
func ParseEpoch(s string) (Epoch, error) {
	policy, span, ok1 := strings.Cut(s, "/")
	start, length, ok2 := strings.Cut(span, "+")
	if !ok1 || !ok2 || !validName(policy) {
		return Epoch{}, fmt.Errorf("epoch %q is not policy/start+length", s)
	}
	e := Epoch{Policy: policy}
	var err error
	if e.Start, err = strconv.ParseInt(start, 10, 64); err != nil {
		return Epoch{}, fmt.Errorf("epoch %q: start: %w", s, err)
	}
	if e.Length, err = strconv.ParseInt(length, 10, 64); err != nil {
		return Epoch{}, fmt.Errorf("epoch %q: length: %w", s, err)
	}
	if e.Length <= 0 || e.Start%e.Length != 0 {
		return Epoch{}, fmt.Errorf("epoch %q: start is not a multiple of a positive length", s)
	}
	return e, nil
}
