package abuse

import (
	"encoding/json"
	"net/http"
)

// serveHealth says that the process lives: nothing more, so that an outage of
// Redis or Kafka never restarts it.
func serveHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, "application/json", map[string]bool{"alive": true})
}

// readiness is the body of /readyz.
type readiness struct {
	Ready    bool              `json:"ready"`
	NotReady map[string]string `json:"not_ready,omitempty"`
}

// serveReady names what is not ready.
func (d *Desk) serveReady(w http.ResponseWriter, _ *http.Request) {
	body, status := readiness{Ready: true, NotReady: map[string]string{}}, http.StatusOK
	if d.d.Ready != nil {
		for part, err := range d.d.Ready() {
			if err != nil {
				body.NotReady[part] = err.Error()
				body.Ready, status = false, http.StatusServiceUnavailable
			}
		}
	}
	writeJSON(w, status, "application/json", body)
}

func writeJSON(w http.ResponseWriter, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error here is a client that left
}
