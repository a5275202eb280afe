package abuse

import (
	"bytes"
	"io"
	"net/http"
	"strconv"

	"mayfly/retention/secret"
)

// keepsNothing stands before routes whose answers have addresses: an answer goes from the
// memory that it was written in straight to the connection. net/http's own buffers would
// have a copy, for as long as the connection lives, or whoever it lends them to next.
func keepsNothing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d := &direct{ResponseWriter: w, status: http.StatusOK}
		defer func() { clear(d.body.Bytes()) }()
		secret.GrowStack()
		next.ServeHTTP(d, r)
		secret.WipeStack()
		d.send()
	})
}

// direct collects what a handler writes.
type direct struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (d *direct) WriteHeader(status int)      { d.status = status }
func (d *direct) Write(p []byte) (int, error) { return d.body.Write(p) }

// Unwrap is for http.ResponseController.
func (d *direct) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// send sends the head, for which the length must be known, and then the body, of which
// net/http with an empty buffer and a connection that has ReadFrom makes no copy.
func (d *direct) send() {
	d.Header().Set("Content-Length", strconv.Itoa(d.body.Len()))
	d.ResponseWriter.WriteHeader(d.status)
	body := bytes.NewReader(d.body.Bytes())
	if w, ok := d.ResponseWriter.(io.ReaderFrom); ok && http.NewResponseController(d.ResponseWriter).Flush() == nil {
		_, _ = w.ReadFrom(body)
		return
	}
	_, _ = body.WriteTo(d.ResponseWriter)
}
