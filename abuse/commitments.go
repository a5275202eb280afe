package abuse

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"mayfly/retention/receipts"
)

// ProbePath is where the canaries' probers of other processes ask.
const ProbePath = "/v1/probe"

// Commitments is where an auditor's commitments are written down. When Record
// returns nil they are durable.
type Commitments interface {
	Record(ctx context.Context, entries ...receipts.Entry) error
}

// Commitment is an auditor's word for connections that nobody can tell from
// others: a salted hash of them all.
type Commitment struct {
	Commitment string `json:"commitment" minLength:"64" maxLength:"64" pattern:"^[0-9a-f]{64}$" doc:"SHA-256 over a secret salt and the list of connections, as mayfly audit plant makes it"`
	Count      int64  `json:"count" minimum:"1" maximum:"100000" doc:"how many connections"`
}

// Committed names the entry.
type Committed struct {
	Receipt string    `json:"receipt" doc:"id of the entry in the receipt log"`
	Time    time.Time `json:"time" doc:"when it was written, by the desk's clock"`
}

const commitmentTimeout = 10 * time.Second

// mostCommitments is how many a desk writes a day, as many of them at once: what is
// written down stays for good, and is at most 300 bytes each.
const mostCommitments = 100

func newCommitmentLimit() *rate.Limiter {
	return rate.NewLimiter(rate.Every(24*time.Hour/mostCommitments), mostCommitments)
}

func (d *Desk) registerCommitment(api huma.API) {
	op := huma.Operation{
		OperationID: "commit", Method: http.MethodPost, Path: "/v1/commitments",
		Summary: "Write an auditor's commitment into the receipt log",
		Description: "The entry holds the hash and the count alone. With the salt and the list the auditor can later prove that the connections " +
			"were chosen before it; without them it says nothing. A desk takes 100 a day.",
		Errors:           []int{http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable},
		MaxBodyBytes:     1 << 10,
		SkipValidateBody: true, // what huma refuses it quotes
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Commitment](), true, "Commitment")},
		}},
	}
	huma.Register(api, op, d.serveCommitment)
	delete(op.RequestBody.Content, "application/octet-stream") // what huma makes of RawBody
}

func (d *Desk) serveCommitment(ctx context.Context, in *lookupInput) (*output[Committed], error) {
	ctx, cancel := context.WithTimeout(ctx, commitmentTimeout)
	defer cancel()
	var c Commitment
	if err := json.Unmarshal(in.RawBody, &c); err != nil {
		return nil, huma.Error422UnprocessableEntity("the body must be one JSON object with commitment and count")
	}
	if err := receipts.CheckPlanted(c.Commitment, c.Count); err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	if !d.commitments.Allow() {
		return nil, huma.ErrorWithHeaders(huma.Error429TooManyRequests("the desk has written as many commitments as it does in a day: they stay for good"),
			http.Header{"Retry-After": {strconv.Itoa(int((24 * time.Hour / mostCommitments).Seconds()))}})
	}
	entry := &receipts.Planted{ID: rand.Text(), Commitment: c.Commitment, Count: c.Count}
	if err := d.d.Commitments.Record(ctx, entry); err != nil {
		d.logFailure("writing a commitment failed", err)
		return nil, huma.Error503ServiceUnavailable("the receipt can't be written: tell the operator of the desk")
	}
	d.log.Info("commitment written", zap.Int64("count", c.Count), zap.String("receipt", entry.ID))
	return &output[Committed]{Committed{Receipt: entry.ID, Time: entry.Time}}, nil
}
