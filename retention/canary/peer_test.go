package canary

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mayfly/retention"
	"mayfly/retention/keyring"
	"mayfly/retention/seal"
)

// memory is a process that answers as it is told, and keeps what it was asked.
type memory struct {
	holds, opens bool
	err          error
	asked        seal.Frame
	wrap         []byte
}

func (m *memory) Probe(_ time.Time, f *seal.Frame, wrap []byte) (bool, bool, error) {
	m.asked, m.wrap = *f, bytes.Clone(wrap)
	return m.holds, m.opens, m.err
}

func sealedFrame(t testing.TB) (seal.Frame, []byte) {
	t.Helper()
	public, _, err := seal.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	w, err := seal.NewWriter(retention.Epoch{Policy: "p", Start: 5000, Length: 5000}, seal.KeyID{1}, public)
	if err != nil {
		t.Fatal(err)
	}
	return w.Seal(seal.ByAccount, 3, []byte("payload")), w.Wrap().Encapsulated
}

func TestPeersAnswerWhoHasTheKey(t *testing.T) {
	t.Parallel()
	key := testKey(t, 1, "user-%%%%%%%%%%", "192.0.2.0/24")
	m := &memory{}
	server := httptest.NewServer(Handler(key, m))
	defer server.Close()
	frame, wrap := sealedFrame(t)
	for name, want := range map[string]memory{
		"nothing": {}, "a key": {holds: true}, "the canary": {holds: true, opens: true}, "alive": {err: keyring.ErrAlive},
	} {
		m.holds, m.opens, m.err = want.holds, want.opens, want.err
		holds, opens, err := newPeer(server.URL, key).probe(t.Context(), &frame, wrap)
		if holds != want.holds || opens != want.opens || err != want.err { //nolint:errorlint // the very error
			t.Errorf("%s: %v, %v, %v", name, holds, opens, err)
		}
		if m.asked.Place != frame.Place || !bytes.Equal(m.asked.Bytes(), frame.Bytes()) || !bytes.Equal(m.wrap, wrap) {
			t.Errorf("%s: another question arrived", name)
		}
	}
	m.err, m.asked = io.ErrUnexpectedEOF, seal.Frame{}
	if _, _, err := newPeer(server.URL, key).probe(t.Context(), &frame, wrap); err == nil {
		t.Error("a peer that can't tell counts as one that has nothing")
	}
	m.err, m.asked = nil, seal.Frame{}
	stranger := testKey(t, 2, "user-%%%%%%%%%%", "192.0.2.0/24")
	if _, _, err := newPeer(server.URL, stranger).probe(t.Context(), &frame, wrap); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("a stranger is answered: %v", err)
	}
	if m.asked.Writer == frame.Writer {
		t.Error("a stranger's question reached the keys")
	}
	body := bytes.Repeat([]byte(" "), maxQuestion+1)
	response, err := http.Post(server.URL, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("a body without end: %s", response.Status)
	}
}

func FuzzParseQuestion(f *testing.F) {
	f.Add([]byte(`{"epoch":"p/5000+5000","key":"0100000000000000","view":2,"shard":3,"frame":"AQ==","wrap":""}`))
	f.Add([]byte(`{"epoch":"p/5000+5000","key":"0100000000000000"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		frame, _, err := parseQuestion(body)
		if err == nil && frame.Place.Epoch.Length <= 0 {
			t.Errorf("%q asks for no epoch", body)
		}
	})
}
