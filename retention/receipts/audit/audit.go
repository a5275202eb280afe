// Package audit checks receipt logs offline: that nobody edited, reordered,
// truncated, forked or rolled them back, and that every epoch of every policy
// has its end in them, in time. An auditor's machine needs the folders and the
// verifier keys, and no network. Package cmd imports it.
//
// The invariant: Verify gives a Result only for logs whose every entry is under a
// checkpoint that a trusted key has signed. What such logs lack, or admit, are
// the Result's findings.
package audit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"mayfly/retention/receipts"
)

// Options are what the auditor brings.
type Options struct {
	// Keys are the verifier keys of the logs or, with a Roster, the one of who
	// signed that.
	Keys   []string
	Roster []byte
	// Checkpoints are signed heads that the auditor kept from earlier, or that
	// witnesses cosigned; each must be one of a log given.
	Checkpoints [][]byte
	// Witnesses are the verifier keys of C2SP witnesses. Quorum of them must have
	// cosigned each log; 0 stands for all of them.
	Witnesses []string
	Quorum    int
	// From and To bound the deadlines that are judged: every one at or after From
	// that came Grace before To.
	From, To time.Time
	Grace    time.Duration
}

// Result is what the logs say, once they are found to be whole.
type Result struct {
	From       time.Time        `json:"from,omitzero"`
	To         time.Time        `json:"to"`
	Grace      Millis           `json:"grace_ms"`
	Logs       []LogResult      `json:"logs"`
	Entries    int64            `json:"entries"`
	Witnessed  bool             `json:"witnessed"` // every log, by a quorum
	Policies   []PolicyResult   `json:"policies"`
	Removed    []string         `json:"removed_policies,omitempty"`
	Topics     []TopicResult    `json:"topics"`
	Lookups    map[string]int64 `json:"lookups"` // by reason
	Canaries   CanaryResult     `json:"canaries"`
	Assurance  string           `json:"assurance"`
	Findings   []Finding        `json:"findings"`
	Exceptions int64            `json:"exceptions"` // epochs in all findings

	accounts *accounts
}

// LogResult is one log.
type LogResult struct {
	Origin string `json:"origin"`
	Folder string `json:"folder"`
	Size   int64  `json:"size"`
	Root   string `json:"root"`
	// Consistent are the sizes of the older checkpoints that this log continues.
	Consistent []int64 `json:"consistent_with,omitempty"`
	// Witnesses have cosigned the first WitnessedSize entries.
	Witnesses     []Cosignature `json:"witnesses,omitempty"`
	WitnessedSize int64         `json:"witnessed_size"`
	First         time.Time     `json:"first_entry,omitzero"`
	Last          time.Time     `json:"last_entry,omitzero"`
}

// Cosignature is what a witness attests: that at Time the log had, and from then on
// can't deny, the entries under the checkpoint.
type Cosignature struct {
	Witness string    `json:"witness"`
	Time    time.Time `json:"time"`
}

// PolicyResult is one policy over the time judged.
type PolicyResult struct {
	Name        string    `json:"name"`
	Basis       string    `json:"basis"`
	Window      Millis    `json:"window_ms"`
	Length      Millis    `json:"epoch_ms"`
	Since       time.Time `json:"since"` // of the present terms
	Epochs      int64     `json:"epochs"`
	Purged      int64     `json:"purged"`
	NeverMinted int64     `json:"never_minted"`
	Missing     int64     `json:"missing"`
	Late        int64     `json:"late"`
	Lag         Lags      `json:"lag"`
	Keys        int64     `json:"keys"`
	// What the purged epochs had held, as it was counted just before their deadlines.
	Stored    int64 `json:"stored"`
	Rejected  int64 `json:"rejected"`
	Expired   int64 `json:"expired"`
	Uncounted int64 `json:"uncounted"` // purged epochs of which nothing is known
	Partial   int64 `json:"partial"`   // of which there may have been more
}

// Lags sum up the time from deadlines to verified purges.
type Lags struct {
	Count  int64  `json:"count"`
	Median Millis `json:"median_ms"`
	P99    Millis `json:"p99_ms"`
	Worst  Millis `json:"worst_ms"`
}

// Millis is a duration in whole milliseconds.
type Millis int64

func (m Millis) String() string { return (time.Duration(m) * time.Millisecond).String() }

// Verify checks the logs in folders. The error is one line about the first log
// that can't be trusted, or about what is wrong with the options.
func Verify(folders []string, o Options) (*Result, error) {
	t, err := newTrust(o)
	if err != nil {
		return nil, err
	}
	logs, err := t.openLogs(folders)
	if err != nil {
		return nil, err
	}
	if err := t.addCheckpoints(logs, o.Checkpoints); err != nil {
		return nil, err
	}
	result := &Result{From: o.From, To: o.To, Grace: Millis(o.Grace.Milliseconds()), Witnessed: len(t.witnesses) > 0}
	accounts := newAccounts()
	for i, l := range logs {
		take := func(e receipts.Entry) { accounts.take(i, e) }
		if l.copyOf != nil {
			take = func(receipts.Entry) {}
		}
		if err := l.scan(take); err != nil {
			return nil, fmt.Errorf("log in %s: %w", l.folder, err)
		}
		if err := t.judgeWitnesses(l); err != nil {
			return nil, fmt.Errorf("log in %s: %w", l.folder, err)
		}
		result.Logs = append(result.Logs, l.result())
		if l.copyOf == nil {
			result.Entries += l.head.size
		}
	}
	if err := accounts.judge(result, o); err != nil {
		return nil, err
	}
	result.accounts = accounts
	return result, nil
}

// Err is nil where every epoch judged has its end in time, and nothing
// contradicts it; else one line that names the first exception.
func (r *Result) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	more := ""
	if n := len(r.Findings) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return errors.New(r.Findings[0].String() + more)
}

// SelfAttested reports whether nobody but the operator vouches for the logs.
func (r *Result) SelfAttested() bool {
	return !slices.ContainsFunc(r.Logs, func(l LogResult) bool { return len(l.Witnesses) > 0 })
}
