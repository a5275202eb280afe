// Package client asks a desk over HTTP.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/output"
)

// timeout is a little longer than the desk's own for a batch.
const timeout = 3 * time.Minute

// mostAnswer bounds what is read of an answer: far more than its events need.
const mostAnswer = 256 << 20

// Client asks a desk over HTTP. Subjects travel in bodies only.
type Client struct{ Base string }

// Look asks for one subject.
func (c Client) Look(ctx context.Context, request lookup.Request) (lookup.Result, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return lookup.Result{}, fmt.Errorf("encoding the request: %w", err)
	}
	var result lookup.Result
	err = c.post(ctx, "/v1/lookups", nil, "application/json", body, &result)
	return result, err
}

// LookBatch asks for many, in one case and with one receipt.
func (c Client) LookBatch(ctx context.Context, b lookup.Batch) (lookup.BatchResult, error) {
	contentType := "text/csv"
	if b.Format == lookup.JSONLines {
		contentType = "application/jsonl"
	}
	var result lookup.BatchResult
	err := c.post(ctx, "/v1/lookups/batch", url.Values{"case": {b.Case}, "reason": {b.Reason}}, contentType, b.Body, &result)
	return result, err
}

func (c Client) post(ctx context.Context, path string, query url.Values, contentType string, body []byte, result any) error {
	base, err := url.Parse(c.Base)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return errors.New("--desk must be a URL such as http://127.0.0.1:8080")
	}
	target := base.JoinPath(path)
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the desk: %w", err)
	}
	request.Header.Set("Content-Type", contentType)
	client := http.Client{
		Timeout: timeout,
		// A redirect could carry the subject to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("asking the desk (is it running there? --desk says where): %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	decoder := json.NewDecoder(io.LimitReader(response.Body, mostAnswer))
	if response.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		if decoder.Decode(&problem) != nil || problem.Detail == "" {
			return fmt.Errorf("the desk answered %s: is --desk really a desk?", response.Status)
		}
		return errors.New(output.Printable(problem.Detail))
	}
	if err := decoder.Decode(result); err != nil {
		return errors.New("the desk's answer can't be read: is --desk really a desk, and of this version?")
	}
	return nil
}
