package abuse

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// bufferless is a response as net/http's: it takes a body without a copy once its head is out.
type bufferless struct {
	*httptest.ResponseRecorder
	taken []byte
}

func (b *bufferless) ReadFrom(r io.Reader) (int64, error) {
	if b.Flushed {
		b.taken, _ = io.ReadAll(r)
	}
	return int64(len(b.taken)), nil
}

func TestAnswersPassNoBuffer(t *testing.T) {
	t.Parallel()
	const body = `{"ip":"203.0.113.7"}`
	var written *bytes.Buffer
	handler := keepsNothing(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, body)
		written = bytes.NewBuffer(w.(*direct).body.Bytes())
	}))
	w := &bufferless{ResponseRecorder: httptest.NewRecorder()}
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/lookups", nil))
	if w.Code != http.StatusTeapot || w.Header().Get("Content-Length") != "20" || string(w.taken) != body || w.Body.Len() > 0 {
		t.Errorf("%d, %s bytes, handed through %q, through a buffer %q", w.Code, w.Header().Get("Content-Length"), w.taken, w.Body)
	}
	if bytes.Contains(written.Bytes(), []byte("203")) {
		t.Error("the answer is still where it was written")
	}
	plain := httptest.NewRecorder() // as any other writer
	handler.ServeHTTP(plain, httptest.NewRequest(http.MethodPost, "/v1/lookups", nil))
	if plain.Code != http.StatusTeapot || plain.Body.String() != body {
		t.Errorf("%d %q", plain.Code, plain.Body)
	}
}
