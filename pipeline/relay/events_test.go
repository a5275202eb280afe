package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// What is in memory at a time is bounded, and who has to wait for Kafka holds nobody up.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.MaxRequests = 2 }) // and nobody seals yet
		r.mint(t)
		answers := make(chan int)
		for range 3 {
			go func() {
				status, _ := r.post(jsonEvents(1))
				answers <- status
			}()
			synctest.Wait() // it waits for Kafka
		}
		var slow []*io.PipeWriter
		for range 2 {
			body, sender := io.Pipe()
			slow = append(slow, sender)
			go func() {
				w := httptest.NewRecorder()
				r.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/events", body))
				answers <- w.Code
			}()
			if _, err := io.WriteString(sender, jsonEvents(1)); err != nil {
				t.Fatal(err)
			}
		}
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/events", strings.NewReader(jsonEvents(1))))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "relay.max_requests") {
			t.Errorf("a third body: %d %v %s", w.Code, w.Header(), w.Body)
		}
		r.seal(t)
		_ = slow[0].Close()
		_ = slow[1].CloseWithError(errors.New("the sender has gone"))
		got := map[int]int{}
		for range 5 {
			got[<-answers]++
		}
		if got[http.StatusAccepted] != 4 || got[http.StatusBadRequest] != 1 {
			t.Errorf("answers: %v", got)
		}
		if status, text := r.post(jsonEvents(1)); status != http.StatusAccepted {
			t.Errorf("once there is room: %d %s", status, text)
		}
	})
}

// A web page has no business here, not even one whose name was made to point here.
func TestPagesMayNotSend(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.mint(t)
	r.seal(t)
	for _, header := range []string{"Origin", "Sec-Fetch-Site"} {
		request := httptest.NewRequest(http.MethodPost, "http://rebound.example/v1/events", strings.NewReader(jsonEvents(1)))
		request.Header.Set(header, map[string]string{"Origin": "http://rebound.example", "Sec-Fetch-Site": "same-origin"}[header])
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, request)
		if w.Code != http.StatusForbidden || r.sent() != 0 {
			t.Errorf("%s: %d %s", header, w.Code, w.Body)
		}
	}
}

// Nor may it send a POST to the port that takes lines.
func TestLinesOfAPageAreNotTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *Config) { c.Socket = SocketConfig{Listen: "tcp:127.0.0.1:0", Format: "json"} })
		r.mint(t)
		r.seal(t)
		for first, want := range map[string]int{"POST /\r\nHost: localhost\r\n\r\n": 0, "": 1} {
			server, client := net.Pipe()
			go func() {
				_, _ = io.WriteString(client, first+jsonEvents(1))
				_ = client.Close()
			}()
			before := r.sent()
			r.lines.read(t.Context(), server)
			time.Sleep(time.Second) // of the bubble: lingered
			if got := r.sent() - before; got != want {
				t.Errorf("after %q: %d events are in the topic", first, got)
			}
		}
	})
}

// watched keeps every buffer that it was to fill.
type watched struct {
	io.Reader
	buffers [][]byte
}

func (w *watched) Read(p []byte) (int, error) {
	w.buffers = append(w.buffers, p[:cap(p)])
	return w.Reader.Read(p)
}

func TestABodyLeavesNoCopies(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, smallBody - 1, smallBody, smallBody + 1, 100_000} {
		for _, announced := range []int64{-1, int64(size)} {
			text := bytes.Repeat([]byte("x"), size)
			w := &watched{Reader: iotest.HalfReader(bytes.NewReader(text))}
			body, err := readBody(w, announced)
			if err != nil || !bytes.Equal(body, text) {
				t.Fatalf("%d bytes, %d announced: read %d, %v", size, announced, len(body), err)
			}
			if announced >= 0 && cap(body) > max(size+1, smallBody) {
				t.Errorf("%d bytes, announced, take %d", size, cap(body))
			}
			clear(body)
			for _, buffer := range w.buffers {
				if bytes.IndexByte(buffer, 'x') >= 0 {
					t.Errorf("%d bytes, %d announced: a copy is left", size, announced)
				}
			}
		}
	}
}

// Whatever a request is answered with, nothing of its body is left where it was read to.
func TestBodiesAreClearedWithEveryAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config) { c.MaxBody = 16 << 10 })
	r.mint(t)
	r.seal(t)
	for want, body := range map[int]io.Reader{
		http.StatusAccepted:              strings.NewReader(jsonEvents(100)),
		http.StatusRequestEntityTooLarge: strings.NewReader(jsonEvents(500)),
		http.StatusUnprocessableEntity:   strings.NewReader(canary),
		http.StatusBadRequest:            io.MultiReader(strings.NewReader(jsonEvents(10)), iotest.ErrReader(io.ErrUnexpectedEOF)),
	} {
		read := &watched{Reader: body}
		w := httptest.NewRecorder()
		r.handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v1/events", read))
		if w.Code != want {
			t.Errorf("%d instead of %d", w.Code, want)
		}
		for _, buffer := range read.buffers {
			if bytes.Contains(buffer, []byte(canary)) {
				t.Errorf("%d: the body is still in memory", want)
				break
			}
		}
	}
}

// No room is made for a body that only says that it is long.
func TestWhatIsAnnouncedAsTooLongIsNotRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	read := &watched{Reader: strings.NewReader(jsonEvents(1))}
	request := httptest.NewRequest(http.MethodPost, "/v1/events", read)
	request.ContentLength = r.config.MaxBody + 1
	w := httptest.NewRecorder()
	r.handler().ServeHTTP(w, request)
	if w.Code != http.StatusRequestEntityTooLarge || read.buffers != nil {
		t.Errorf("%d, read %d times", w.Code, len(read.buffers))
	}
}
