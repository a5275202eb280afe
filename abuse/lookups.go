package abuse

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"

	"mayfly/abuse/lookup"
)

func (d *Desk) serveLookup(ctx context.Context, in *lookupInput) (*output[lookup.Result], error) {
	defer clear(in.RawBody) // the buffer is used again, and lives as long as the process
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	started := time.Now()
	request, err := lookup.DecodeRequest(in.RawBody)
	if err != nil {
		return nil, d.failed(err, "body", started)
	}
	result, err := d.d.Lookups.Look(ctx, started, request)
	if err != nil {
		return nil, d.failed(err, "body", started)
	}
	d.metrics.observe(resultOf(result.Complete, result.Ambiguous), time.Since(started))
	d.log.Info("look-up answered",
		zap.String("case", request.Case), zap.String("reason", request.Reason),
		zap.Int("events", len(result.Events)), zap.Int("accounts", result.Accounts),
		zap.Bool("ambiguous", result.Ambiguous), zap.Bool("complete", result.Complete),
		zap.String("receipt", result.Receipt), zap.Duration("took", time.Since(started)))
	return &output[lookup.Result]{result}, nil
}

func (d *Desk) serveBatch(ctx context.Context, in *batchInput) (*output[lookup.BatchResult], error) {
	defer clear(in.RawBody)
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	started := time.Now()
	batch := lookup.Batch{Case: in.Case, Reason: in.Reason, Body: in.RawBody}
	switch media, _, _ := mime.ParseMediaType(in.ContentType); media {
	case "text/csv":
		batch.Format = lookup.CSV
	case "application/jsonl", "application/x-ndjson", "application/x-jsonlines":
		batch.Format = lookup.JSONLines
	default:
		return nil, huma.Error415UnsupportedMediaType("send text/csv or application/jsonl, and say so in Content-Type")
	}
	result, err := d.d.Lookups.LookBatch(ctx, started, batch)
	if err != nil {
		return nil, d.failed(err, "query", started)
	}
	d.metrics.observe(resultOf(result.Complete, false), time.Since(started))
	d.log.Info("batch answered",
		zap.String("case", in.Case), zap.String("reason", in.Reason),
		zap.Int("subjects", len(result.Results)), zap.Int("failed", result.Failed), zap.Bool("complete", result.Complete),
		zap.String("receipt", result.Receipt), zap.Duration("took", time.Since(started)))
	return &output[lookup.BatchResult]{result}, nil
}

func resultOf(complete, ambiguous bool) string {
	switch {
	case !complete:
		return resultIncomplete
	case ambiguous:
		return resultAmbiguous
	}
	return resultAnswered
}

// failed turns a look-up's error into what the client is told. Nothing of a
// refused request is logged: its case may be an address.
func (d *Desk) failed(err error, where string, started time.Time) huma.StatusError {
	var refusal *lookup.Refusal
	if !errors.As(err, &refusal) {
		d.metrics.observe(resultUnavailable, time.Since(started))
		d.logFailure("look-up failed", err)
		if errors.Is(err, lookup.ErrNoReceipt) {
			return huma.Error503ServiceUnavailable("the receipt can't be written, so the look-up is not answered: tell the operator of the desk")
		}
		return huma.Error503ServiceUnavailable("the IP log can't be read now, so the look-up is not answered: try again")
	}
	d.metrics.observe(resultRefused, time.Since(started))
	d.log.Info("look-up refused", zap.String("field", refusal.Field))
	switch {
	case errors.Is(err, lookup.ErrSyntax):
		return huma.Error400BadRequest(refusal.Message)
	case refusal.Field == "":
		return huma.Error422UnprocessableEntity(refusal.Message)
	}
	return huma.NewError(http.StatusUnprocessableEntity, refusal.Error(),
		&huma.ErrorDetail{Location: where + "." + refusal.Field, Message: refusal.Message})
}

// logFailure leaves out requests that the client gave up.
func (d *Desk) logFailure(message string, err error) {
	if !errors.Is(err, context.Canceled) {
		d.log.Error(message, zap.Error(err))
	}
}
