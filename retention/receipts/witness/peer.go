package witness

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	cosign "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"

	"mayfly/retention/receipts"
)

// peer is one witness, and what is known of what it knows. One round at a time
// uses it.
type peer struct {
	name     string
	url      string
	verifier note.Verifier
	client   *http.Client

	size      int64 // of the head that it cosigned last; 0: not known
	failures  int   // one after the other
	notBefore time.Time
	reason    string // why it failed last
	latest    time.Time
}

func newPeer(c receipts.Witness, client *http.Client) (*peer, error) {
	verifier, err := cosign.NewVerifierForCosignatureV1(c.Key)
	if err != nil {
		return nil, fmt.Errorf("reading the key of witness %s: %w", c.Name, err)
	}
	at, err := url.JoinPath(c.URL, "add-checkpoint")
	if err != nil {
		return nil, fmt.Errorf("reading the address of witness %s: %w", c.Name, err)
	}
	return &peer{name: c.Name, url: at, verifier: verifier, client: client}, nil
}

// Why a witness did not cosign: the values of a metric's label.
const (
	reasonAway    = "away"    // unreachable, overloaded, or out of order
	reasonUnknown = "unknown" // it does not know this log, or its key
	reasonForked  = "forked"  // it has seen another version of the log
	reasonInvalid = "invalid" // it answered with something else
)

var reasons = []string{reasonAway, reasonUnknown, reasonForked, reasonInvalid}

// refusal is an answer that is no cosignature.
type refusal struct {
	reason string
	text   string
}

func (r *refusal) Error() string { return r.text }

var (
	errNobody  = errors.New("no witness is configured (receipts.witnesses)")
	errNotYet  = errors.New("no witness has cosigned the log yet")
	errUnknown = &refusal{reasonUnknown, "it does not know this log: give its operator the log's receipts.pub"}
	errForked  = &refusal{reasonForked, "this log is not the continuation of the one that it has cosigned: it was forked, rolled back or rewritten; compare it with its copies"}
	errInvalid = &refusal{reasonInvalid, "its answer is no cosignature by its key: check receipts.witnesses"}
)

// attempts bounds how often a witness may say that it has another size in mind.
const attempts = 3

// cosign asks for a cosignature of head, and gives its line. The witness says
// which head it has; where that is not what we thought, it is asked once more.
func (p *peer) cosign(ctx context.Context, log Log, head receipts.Head) ([]byte, error) {
	for range attempts {
		proof, err := log.Prove(p.size, head)
		if err != nil {
			return nil, err
		}
		var body bytes.Buffer
		fmt.Fprintf(&body, "old %d\n", min(p.size, head.Size))
		for _, hash := range proof {
			fmt.Fprintln(&body, base64.StdEncoding.EncodeToString(hash[:]))
		}
		body.WriteByte('\n')
		body.Write(head.Text)
		answer, size, err := p.post(ctx, body.Bytes())
		switch {
		case err != nil:
			return nil, err
		case answer == nil && size > head.Size:
			return nil, errForked
		case answer == nil:
			p.size = size
			continue
		}
		line, err := p.check(head, answer)
		if err == nil {
			p.size = head.Size
		}
		return line, err
	}
	return nil, errInvalid
}

// mostAnswer bounds what a witness may say.
const mostAnswer = 16 << 10

// post sends a request. Without an answer the witness is at another size.
func (p *peer) post(ctx context.Context, body []byte) (answer []byte, size int64, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, 0, fmt.Errorf("asking a witness: %w", err)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, 0, &refusal{reasonAway, "it can't be reached: " + err.Error()}
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, mostAnswer))
	if err != nil {
		return nil, 0, &refusal{reasonAway, "its answer was cut off: " + err.Error()}
	}
	switch response.StatusCode {
	case http.StatusOK:
		return answer, 0, nil
	case http.StatusConflict:
		if response.Header.Get("Content-Type") != "text/x.tlog.size" {
			return nil, 0, errForked
		}
		size, err = strconv.ParseInt(strings.TrimSuffix(string(answer), "\n"), 10, 64)
		if err != nil || size < 0 {
			return nil, 0, errInvalid
		}
		return nil, size, nil
	case http.StatusUnprocessableEntity:
		return nil, 0, errForked
	case http.StatusNotFound, http.StatusForbidden:
		return nil, 0, errUnknown
	}
	return nil, 0, &refusal{reasonAway, "it answers with status " + strconv.Itoa(response.StatusCode)}
}

// check takes the witness's own cosignature from its answer, and nothing else.
func (p *peer) check(head receipts.Head, answer []byte) ([]byte, error) {
	n, err := note.Open(slices.Concat(head.Text, answer), note.VerifierList(p.verifier))
	if err != nil || len(n.Sigs) != 1 {
		return nil, errInvalid
	}
	return fmt.Appendf(nil, "— %s %s\n", n.Sigs[0].Name, n.Sigs[0].Base64), nil
}

// settle keeps how an attempt ended.
func (p *peer) settle(now time.Time, err error) {
	if err == nil {
		p.failures, p.reason, p.notBefore, p.latest = 0, "", time.Time{}, now
		return
	}
	p.reason = reasonAway
	if r := (*refusal)(nil); errors.As(err, &r) {
		p.reason = r.reason
	}
	p.notBefore = now.Add(min(firstWait<<min(p.failures, 16), worstWait))
	p.failures++
}
