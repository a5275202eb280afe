package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"mayfly/pipeline/edge"
	"mayfly/pipeline/event"
)

// accepted is the answer to events that were taken.
type accepted struct {
	Accepted int            `json:"accepted"`
	Refused  map[string]int `json:"refused,omitempty"` // by reason
}

// serveEvents takes JSON lines: each is one event, as it would be one message.
func (r *Relay) serveEvents(w http.ResponseWriter, request *http.Request) {
	result, refusal := r.take(w, request)
	switch {
	case refusal == nil:
		answer(w, http.StatusAccepted, "application/json", result)
		return
	case refusal.Status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	answer(w, refusal.Status, "application/problem+json", refusal)
}

// take hands the events of a request to the sealer and waits until Kafka has them.
func (r *Relay) take(w http.ResponseWriter, request *http.Request) (accepted, *problem) {
	if fromPage(request) {
		return accepted{}, refuse(http.StatusForbidden, "no web page may send events")
	}
	select {
	case r.bodies <- struct{}{}:
	default:
		return accepted{}, unavailable("as many requests are being read as relay.max_requests lets")
	}
	sealerHasThem := sync.OnceFunc(func() { <-r.bodies })
	defer sealerHasThem()
	body, refusal := r.read(w, request)
	defer clear(body)
	if refusal != nil {
		return accepted{}, refusal
	}
	ctx, cancel := context.WithTimeout(request.Context(), r.config.Timeout)
	defer cancel()
	result, delivery, err := r.add(ctx, body)
	if err == nil && result.Accepted == 0 {
		refusal := refuse(http.StatusUnprocessableEntity, "no line is an event that a policy takes")
		refusal.Refused = result.Refused
		return accepted{}, refusal
	}
	clear(body)
	sealerHasThem()
	if err == nil && !r.config.Async {
		err = delivery.Wait(ctx)
	}
	if err != nil {
		return accepted{}, unavailable(reason(err))
	}
	return result, nil
}

// fromPage reports whether a browser sends the request for a page. Each POST of a
// page has an Origin, also where the page's own name was made to point here.
func fromPage(request *http.Request) bool {
	return request.Header.Get("Origin") != "" || request.Header.Get("Sec-Fetch-Site") != ""
}

// read reads a body, or as much of it as came.
func (r *Relay) read(w http.ResponseWriter, request *http.Request) ([]byte, *problem) {
	tooLong := refuse(http.StatusRequestEntityTooLarge, "the body is longer than relay.max_body")
	if request.ContentLength > r.config.MaxBody {
		return nil, tooLong
	}
	body, err := readBody(http.MaxBytesReader(w, request.Body, r.config.MaxBody), request.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return body, tooLong
	case err != nil:
		return body, refuse(http.StatusBadRequest, "the body did not arrive whole")
	}
	return body, nil
}

// add hands every line to the sealer.
func (r *Relay) add(ctx context.Context, body []byte) (accepted, *edge.Delivery, error) {
	result := accepted{Refused: map[string]int{}}
	delivery := &edge.Delivery{}
	decoder := r.decoder.Clone()
	var e event.Event
	for line := range bytes.Lines(body) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			continue
		}
		refusal := decoder.Decode(line, &e)
		if refusal != event.Accepted {
			r.deps.Sealer.Refused(refusal)
		} else {
			var err error
			if refusal, err = r.deps.Sealer.Add(ctx, &e, delivery); err != nil {
				return result, delivery, err
			}
		}
		if refusal == event.Accepted {
			result.Accepted++
		} else {
			result.Refused[string(refusal)]++
		}
	}
	return result, delivery, nil
}

// reason says why events were not taken, in words that hold nothing of them.
func reason(err error) string {
	for _, known := range []error{edge.ErrNoKey, edge.ErrKafka, edge.ErrExpired, edge.ErrStopped} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "not acknowledged within relay.timeout"
}

// problem is an error after RFC 9457.
type problem struct {
	Title   string         `json:"title"`
	Status  int            `json:"status"`
	Detail  string         `json:"detail"`
	Refused map[string]int `json:"refused,omitempty"`
}

func refuse(status int, detail string) *problem {
	return &problem{Title: http.StatusText(status), Status: status, Detail: detail}
}

func unavailable(detail string) *problem { return refuse(http.StatusServiceUnavailable, detail) }

func answer(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error here is a client that left
}
