package lookup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mayfly/retention/receipts"
)

// Limits of batches.
const (
	MaxSubjects       = 1000
	MaxBatchBytes     = 1 << 20
	defaultBatchLimit = 1000
)

// Batch is many questions of one case.
type Batch struct {
	Case, Reason string
	Format       Format
	Body         []byte // at most MaxBatchBytes
}

// BatchResult is the answer to a Batch.
type BatchResult struct {
	Results  []LineResult `json:"results" nullable:"false" doc:"one for each subject, in the order of the lines"`
	Failed   int          `json:"failed" doc:"how many lines could not be answered"`
	Complete bool         `json:"complete" doc:"false: at least one answer is not complete"`
	Receipt  string       `json:"receipt" doc:"id of the one entry that this batch left"`
}

// LineResult is the answer to one line of a batch: Result or Error.
type LineResult struct {
	Line   int        `json:"line" doc:"number of the line in the body, from 1"`
	Result *Result    `json:"result,omitempty"`
	Error  *LineError `json:"error,omitempty"`
}

// LineError says what is wrong with a line, without quoting it.
type LineError struct {
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
}

// line is one subject of a batch, or what is wrong with its line.
type line struct {
	number  int
	request Request
	err     error
}

// LookBatch answers every line that makes sense and reports the others; they
// share one receipt. Errors are those of Look.
func (l *Lookups) LookBatch(ctx context.Context, now time.Time, b Batch) (BatchResult, error) {
	if err := checkCase(b.Case, b.Reason, ""); err != nil {
		return BatchResult{}, err
	}
	lines, err := parseBatch(b.Format, b.Body)
	if err != nil {
		return BatchResult{}, err
	}
	result := BatchResult{Results: make([]LineResult, 0, len(lines)), Complete: true}
	written := receipts.Lookup{Case: b.Case, Reason: b.Reason, Subject: "batch", Batch: len(lines)}
	left := MaxLimit
	for _, line := range lines {
		answer, err := l.answerLine(ctx, now, b, line, left)
		var refusal *Refusal
		switch {
		case errors.As(err, &refusal):
			if errors.Is(err, errTooMany) {
				note(&written, answer)
			}
			result.Failed++
			result.Results = append(result.Results, LineResult{Line: line.number, Error: &LineError{refusal.Field, refusal.Message}})
			continue
		case err != nil:
			return BatchResult{}, err
		}
		result.Results = append(result.Results, LineResult{Line: line.number, Result: &answer})
		result.Complete = result.Complete && answer.Complete
		left -= len(answer.Events)
		note(&written, answer)
	}
	written.Complete = result.Complete
	if result.Receipt, err = l.receipts.Append(ctx, written); err != nil {
		return BatchResult{}, fmt.Errorf("%w: %w", ErrNoReceipt, err)
	}
	for _, r := range result.Results {
		if r.Result != nil {
			r.Result.Receipt = result.Receipt
		}
	}
	return result, nil
}

// answerLine answers one line with at most left events, so that the answer to a
// whole batch stays within MaxLimit.
func (l *Lookups) answerLine(ctx context.Context, now time.Time, b Batch, line line, left int) (Result, error) {
	if line.err != nil {
		return Result{}, line.err
	}
	if left <= 0 {
		return Result{}, refuse("", "the lines before found as many events as a batch may answer: ask in smaller batches")
	}
	if err := checkCase(b.Case, b.Reason, line.request.Account); err != nil {
		return Result{}, err
	}
	q, err := parse(line.request, now, l.policies)
	if err != nil {
		return Result{}, err
	}
	if line.request.Limit == 0 {
		q.limit = defaultBatchLimit
	}
	q.limit = min(q.limit, left)
	return l.answer(ctx, now, q)
}

// note adds one answer to what the receipt says: sums, and the span of them all.
func note(written *receipts.Lookup, answer Result) {
	written.Events += answer.found
	written.Accounts += answer.Accounts
	written.Ambiguous = written.Ambiguous || answer.Ambiguous
	if written.From.IsZero() || answer.From.Before(written.From) {
		written.From = answer.From
	}
	written.To = later(written.To, answer.To)
}
