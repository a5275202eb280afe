package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

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
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, r.config.MaxBody))
	defer clear(body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, "the body is longer than relay.max_body", nil)
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "the body did not arrive whole", nil)
		return
	}
	ctx, cancel := context.WithTimeout(request.Context(), r.config.Timeout)
	defer cancel()
	result, delivery, err := r.add(ctx, body)
	if err == nil && result.Accepted == 0 {
		refuse(w, http.StatusUnprocessableEntity, "no line is an event that a policy takes", result.Refused)
		return
	}
	if err == nil && !r.config.Async {
		err = delivery.Wait(ctx)
	}
	if err != nil {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, reason(err), nil)
		return
	}
	answer(w, http.StatusAccepted, "application/json", result)
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

func refuse(w http.ResponseWriter, status int, detail string, refused map[string]int) {
	answer(w, status, "application/problem+json", problem{http.StatusText(status), status, detail, refused})
}

func answer(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error here is a client that left
}
