package abuse

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"mayfly/abuse/lookup"
	"mayfly/abuse/pages"
)

// maxRequestBytes is plenty for one question.
const maxRequestBytes = 16 << 10

// How long a handler waits for an answer, at most.
const (
	lookupTimeout = 30 * time.Second
	batchTimeout  = 2 * time.Minute
)

type (
	lookupInput struct {
		RawBody []byte
	}
	batchInput struct {
		Case        string `query:"case" doc:"the ticket these look-ups belong to; kept for good"`
		Reason      string `query:"reason" doc:"why" enum:"abuse-report,spam,fraud,account-takeover,attack,legal-order,safety,test"`
		ContentType string `header:"Content-Type" hidden:"true"`
		RawBody     []byte
	}
	output[T any] struct{ Body T }
)

// routes is the mux of everything the desk serves.
func (d *Desk) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := humago.New(mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Mayfly desk", Version: "1.0.0",
				Description: "Look-ups in an IP log that expires. Every look-up leaves a receipt; addresses never travel in a URL.",
			},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
	})
	d.registerLookup(api)
	d.registerBatch(api)
	if d.d.Commitments != nil {
		d.registerCommitment(api)
	}
	huma.Register(api, huma.Operation{
		OperationID: "retention", Method: http.MethodGet, Path: "/v1/retention",
		Summary: "What is kept, until when, and what was purged", Errors: []int{http.StatusServiceUnavailable},
	}, d.serveRetention)

	spec, err := json.Marshal(api.OpenAPI())
	if err != nil {
		panic("the desk's own API has no description: " + err.Error())
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oai.openapi+json")
		_, _ = w.Write(spec)
	})
	mux.HandleFunc("GET /healthz", serveHealth)
	mux.HandleFunc("GET /readyz", d.serveReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.d.Gatherer, promhttp.HandlerOpts{}))
	if d.d.Probe != nil {
		mux.Handle("POST "+ProbePath, d.d.Probe)
	}
	if d.d.ReceiptLog != nil {
		mux.Handle("GET /v1/log/", http.StripPrefix("/v1/log/", d.d.ReceiptLog))
	}
	mux.Handle("GET /{$}", pages.Handler())
	mux.Handle("GET /assets/", pages.Handler())
	return mux
}

// registerLookup leaves the body to lookup.DecodeRequest: huma's own validation
// quotes what it refuses.
func (d *Desk) registerLookup(api huma.API) {
	op := huma.Operation{
		OperationID: "lookup", Method: http.MethodPost, Path: "/v1/lookups",
		Summary: "Look up one address, prefix or account",
		Description: "With `at`, matching is by interval: connections whose life overlaps at ± tolerance. Where an address and a moment fit " +
			"several accounts, the answer is `ambiguous` and names none.",
		Errors:           []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		MaxBodyBytes:     maxRequestBytes,
		BodyReadTimeout:  bodyTimeout + lookupTimeout,
		SkipValidateBody: true,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[lookup.Request](), true, "Request")},
		}},
	}
	huma.Register(api, op, d.serveLookup)
	delete(op.RequestBody.Content, "application/octet-stream") // what huma makes of RawBody
}

func (d *Desk) registerBatch(api huma.API) {
	text := &huma.Schema{Type: huma.TypeString}
	op := huma.Operation{
		OperationID: "lookup-batch", Method: http.MethodPost, Path: "/v1/lookups/batch",
		Summary: "Look up as many as 1,000 subjects of one case",
		Description: "The body is CSV, whose first line names the columns, or JSON lines. A line may give ip, prefix, account, port, at, tolerance, " +
			"from, to and limit. A line that makes no sense is reported and does not fail the others.",
		Errors: []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
			http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
		MaxBodyBytes:       lookup.MaxBatchBytes,
		BodyReadTimeout:    bodyTimeout + batchTimeout,
		SkipValidateBody:   true,
		SkipValidateParams: true,
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"text/csv": {Schema: text}, "application/jsonl": {Schema: text}, "application/x-ndjson": {Schema: text},
		}},
	}
	huma.Register(api, op, d.serveBatch)
	delete(op.RequestBody.Content, "application/octet-stream")
}

func (d *Desk) serveRetention(ctx context.Context, _ *struct{}) (*output[RetentionStatus], error) {
	status, err := d.d.Retention.Retention(ctx)
	if err != nil {
		d.logFailure("reading the retention's state failed", err)
		return nil, huma.Error503ServiceUnavailable("the retention's state can't be read now: try again")
	}
	return &output[RetentionStatus]{status}, nil
}
